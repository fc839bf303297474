// The server's API: what the page asks in, what it answers out, and every failure as one sentence.

const KEY = "canary-api-key";
const SILENT = "The server does not answer. Is it still running?";

/** A request that failed; its message is for people. */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key.trim());
}

/** The served models: ids and what each can do. */
export async function models() {
  const response = await call("v1/models", {});
  const { data } = await response.json();
  // Aliases of one model are for programs that insist on a name.
  const seen = new Set();
  return data.filter(({ canary }) => !seen.has(canary.name) && seen.add(canary.name));
}

/**
 * Write a recording down.
 * @param {File} file
 * @param {{model: string, language: string, target: string}} wishes
 * @param {AbortSignal} signal Ends it.
 * @param {(text: string, seconds: number) => void} onText Told more text, and where in the recording it ends.
 * @returns the transcript in OpenAI's verbose_json, with words and segments.
 */
export async function transcribe(file, { model, language, target }, signal, onText) {
  const form = new FormData();
  form.append("model", model);
  if (language) form.append("language", language);
  if (target && target !== language) form.append("target_language", target);
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "word");
  form.append("timestamp_granularities[]", "segment");
  form.append("stream", "true");
  form.append("file", file);
  const response = await call("v1/audio/transcriptions", { method: "POST", body: form, signal });
  for await (const event of eventsOf(response.body)) {
    if (event.error) throw new Refused(event.error.message);
    if (event.type === "transcript.text.delta") onText(event.delta, event.end);
    if (event.type === "transcript.text.done") {
      const { type, ...transcript } = event;
      return transcript;
    }
  }
  throw new Refused("The server stopped in the middle of the text. Its log says why.");
}

/** An open connection for live sound. */
export function openLive() {
  const address = new URL("v1/realtime?intent=transcription", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const key = sessionStorage.getItem(KEY);
  let socket;
  try {
    socket = new WebSocket(address, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]);
  } catch {
    throw new Refused("Browsers cannot send this API key with live sound: it has other characters than letters and digits.");
  }
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    // A browser does not say why a connection was refused; whether the server is there, it does.
    socket.onerror = () =>
      models().then(() => reject(new Refused("The server takes no other live session now. Try again later.")), reject);
  });
}

async function call(path, request) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...request, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refused(SILENT);
  }
  if (response.ok) return response;
  if (response.status === 401 && !key) throw new Refused("", 401); // no failure: the page asks for the key
  throw new Refused(await sentenceOf(response), response.status);
}

async function sentenceOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`.replace(" .", ".");
  }
}

/** The data of server-sent events. */
async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw error.name === "AbortError" ? error : new Refused(SILENT);
    }
    if (part.done) return;
    const events = (rest + part.value).split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
    }
  }
}
