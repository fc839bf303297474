// Segments and words with times in, the text of a file out. Knows nothing about the page.

const LONGEST_LINE = 42; // characters
const LONGEST_CUE = 7; // seconds
const LONGEST_PAUSE = 1.5; // within a cue, seconds
const SHORTEST_CUE = 1; // seconds, where the next one leaves the time

/**
 * The text of a download.
 * @param {"txt"|"srt"|"vtt"|"json"} format
 * @param {{text: string, segments: {start: number, end: number, text: string}[], words: {word: string, start: number,
 *   end: number}[]}} transcript
 */
export function render(format, transcript) {
  if (format === "json") return `${JSON.stringify(transcript, null, 2)}\n`;
  if (format === "txt") return lines(transcript).map((line) => `${line}\n`).join("");
  const cues = makeCues(transcript);
  if (format === "srt") {
    return cues.map((cue, n) => `${n + 1}\n${span(cue, ",")}\n${cue.text}\n`).join("\n");
  }
  return `WEBVTT\n\n${cues.map((cue) => `${span(cue, ".")}\n${escaped(cue.text)}\n`).join("\n")}`;
}

function lines({ text, segments }) {
  const said = segments.map((segment) => segment.text.trim()).filter(Boolean);
  return said.length ? said : [text.trim()];
}

/** Cues of at most two lines, from words where there are any. */
function makeCues({ segments, words }) {
  const units = words.length
    ? words.map(({ word, start, end }) => ({ text: word.trim(), start, end }))
    : segments.filter(({ text }) => text.trim()).map(({ text, start, end }) => ({ text: text.trim(), start, end }));
  const groups = [];
  for (const unit of units) {
    const group = groups.at(-1);
    if (group && continues(group, unit, words.length > 0)) group.push(unit);
    else groups.push([unit]);
  }
  return groups.map((group, n) => {
    const start = group[0].start;
    const next = groups[n + 1]?.[0].start ?? Infinity;
    const end = Math.max(group.at(-1).end, Math.min(start + SHORTEST_CUE, next));
    return { start, end: Math.min(end, Math.max(next, start)), text: wrapped(group.map((unit) => unit.text).join(" ")) };
  });
}

function continues(group, unit, areWords) {
  const last = group.at(-1);
  const length = group.reduce((sum, each) => sum + each.text.length + 1, unit.text.length);
  return (
    areWords &&
    !/[.!?…]["'»”)]*$/.test(last.text) &&
    unit.start - last.end <= LONGEST_PAUSE &&
    unit.end - group[0].start <= LONGEST_CUE &&
    length <= 2 * LONGEST_LINE &&
    fits([...group, unit].map((each) => each.text))
  );
}

/** Whether words can be set in two lines. */
function fits(texts) {
  return wrapped(texts.join(" ")).split("\n").every((line) => line.length <= LONGEST_LINE);
}

/** One line, or two of which neither is much longer; never more. */
function wrapped(text) {
  if (text.length <= LONGEST_LINE) return text;
  let best = text;
  let least = Infinity;
  for (let at = text.indexOf(" "); at >= 0; at = text.indexOf(" ", at + 1)) {
    const longer = Math.max(at, text.length - at - 1);
    if (longer < least) [best, least] = [`${text.slice(0, at)}\n${text.slice(at + 1)}`, longer];
  }
  return best;
}

function span({ start, end }, point) {
  return `${clock(start, point)} --> ${clock(end, point)}`;
}

function clock(seconds, point) {
  const ms = Math.round(seconds * 1000);
  const pad = (value, n = 2) => String(Math.floor(value)).padStart(n, "0");
  return `${pad(ms / 3_600_000)}:${pad((ms / 60_000) % 60)}:${pad((ms / 1000) % 60)}${point}${pad(ms % 1000, 3)}`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
