// The page: what people do in, what they see out. Joins the other modules, none of which knows another but by name.

import { Languages } from "./languages.js";
import { Microphone } from "./microphone.js";
import { Player, clock } from "./player.js";
import { Refused, models, setKey, transcribe } from "./server.js";
import { render } from "./subtitles.js";
import { Words } from "./words.js";

const element = (id) => document.getElementById(id);
const languages = new Languages();
const words = new Words(element("text"), (seconds) => player.playFrom(seconds));
const player = new Player((seconds) => words.follow(seconds));

let abort = null;
let microphone = null;
let transcript = null;
let name = "transcript";

/**
 * Show what belongs to a state: starting, locked, idle, working (on a file), opening (the
 * microphone), listening (to it), finishing (its text, which the server may take long for), done.
 */
function enter(state, status = "") {
  const had = document.activeElement;
  document.body.dataset.state = state;
  for (const part of document.querySelectorAll("[data-in]")) {
    part.hidden = !part.dataset.in.split(" ").includes(state);
  }
  const isDone = state === "done" && transcript !== null;
  element("takeaway").hidden = !isDone;
  element("text").setAttribute("aria-live", isDone ? "off" : "polite");
  showHint();
  languages.enable(isFree());
  element("status").textContent = status;
  if (had === document.querySelector("main") || !had.checkVisibility?.()) focusOn(state);
}

function isFree() {
  return ["idle", "done"].includes(document.body.dataset.state);
}

/** The keyboard stays where the action is. */
function focusOn(state) {
  const at = { locked: "key", idle: "choose", working: "cancel", listening: "stop", finishing: "cancel", done: "choose" }[state];
  (element(at) ?? document.querySelector("main")).focus();
}

function showHint() {
  const playable = document.body.dataset.state === "done" && words.playable && player.ready;
  element("hint").hidden = !playable;
  element("hint").textContent = `Click a ${words.kind} to hear it; or go there with the arrow keys, and press Enter.`;
  element("text").classList.toggle("playable", playable);
}

function problem(error) {
  element("problem").textContent = error ? error.message : "";
  element("problem").hidden = !error?.message;
  if (error && !(error instanceof Refused)) console.error(error);
  if (error?.status === 401) {
    element("key-form").hidden = false;
    element("key").focus();
  }
}

async function begin() {
  try {
    languages.offer(await models());
  } catch (error) {
    if (error.status === 401) enter("locked");
    problem(error);
    return false;
  }
  if (!isFree()) enter("idle");
  return true;
}

function clear() {
  problem(null);
  transcript = null;
  words.clear();
  player.unload();
}

async function write(file) {
  if (!isFree()) return;
  clear();
  const most = languages.abilities.max_upload_bytes;
  if (file.size > most) {
    problem(new Refused(`${file.name} has ${megabytes(file.size)}; this server takes ${megabytes(most)} at most.`));
    enter("idle");
    return;
  }
  name = file.name.replace(/\.[^.]*$/, "") || "transcript";
  player.load(file);
  enter("working", `Working on ${file.name}`);
  abort = new AbortController();
  try {
    finish(await transcribe(file, languages.wishes, abort.signal, tellProgress), file.name);
  } catch (error) {
    keepWhatCame(error);
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function tellProgress(text, seconds) {
  words.append(text);
  element("status").textContent = Number.isFinite(player.duration)
    ? `${clock(seconds)} of ${clock(player.duration)} written down`
    : `${clock(seconds)} written down`;
}

function finish(found, what) {
  const isEmpty = !found.text.trim();
  transcript = isEmpty ? null : found;
  words.show(found);
  enter("done", isEmpty ? `${what}: nothing was heard.` : `${what}: done.`);
}

/** A text that is not whole can be read, but not taken away as if it were. */
function keepWhatCame(error) {
  const isCancelled = error.name === "AbortError";
  enter(words.said ? "done" : "idle", isCancelled ? "Cancelled." : words.said ? "The text is not whole." : "");
  problem(isCancelled ? null : error);
}

async function speak() {
  clear();
  name = "microphone";
  enter("opening", "Waiting for the microphone");
  microphone = new Microphone({
    onText: (text) => words.append(text),
    onDraft: (text) => words.draft(text),
    onLevel: (level) => document.body.style.setProperty("--level", level.toFixed(2)),
    onEnd: spoken,
  });
  try {
    await microphone.start(languages.wishes);
    enter("listening", "Listening");
  } catch (error) {
    enter("idle");
    problem(error);
  }
}

function stopSpeaking() {
  enter("finishing", "Writing down the rest");
  microphone.stop();
}

function cancel() {
  if (document.body.dataset.state === "working") {
    abort.abort();
    return;
  }
  microphone.cancel();
  words.draft("");
  player.load(microphone.recording);
  keepWhatCame(new DOMException("", "AbortError"));
}

function spoken(error) {
  problem(error);
  player.load(microphone.recording);
  finish(microphone.transcript, "Microphone");
}

function download(format) {
  const types = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([render(format, transcript)], { type: types[format] }));
  link.download = `${name}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  element("status").textContent = `Saved ${link.download}`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(render("txt", transcript));
    element("status").textContent = "Copied.";
  } catch {
    problem(new Refused("This browser does not let the page copy. Select the text and copy it yourself."));
  }
}

function take(files) {
  if (files.length > 1) problem(new Refused("One recording at a time, please."));
  else if (files.length === 1) write(files[0]);
}

element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", ({ target }) => {
  take([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});
element("speak").addEventListener("click", speak);
element("stop").addEventListener("click", stopSpeaking);
element("cancel").addEventListener("click", cancel);
element("copy").addEventListener("click", copy);
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", () => download(button.dataset.format));
}
element("audio").addEventListener("loadedmetadata", showHint);
element("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  setKey(element("key").value);
  element("key").value = "";
  problem(null);
  if (!(await begin())) return;
  element("key-form").hidden = true;
  element("choose").focus();
});

for (const kind of ["dragenter", "dragover"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (isFree()) take([...event.dataTransfer.files]);
});
window.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (document.body.dataset.state === "listening") stopSpeaking();
  else if (["working", "finishing"].includes(document.body.dataset.state)) cancel();
});

begin();
