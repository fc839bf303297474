// The microphone: sound to the server, text back, and the sound itself kept for listening to it again.

import { Refused, openLive } from "./server.js";

const RATE = 16_000;
const MOST_WAITING = 4_000_000; // characters that were not sent yet, about a minute and a half of sound
const MINUTE = 600; // blocks

const REASONS = {
  NotAllowedError: "The microphone may not be used. Allow it for this page in the browser's settings.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone cannot be used: another program may have it.",
};

export class Microphone {
  #socket = null;
  #context = null;
  #tracks = [];
  #worklet = null;
  #blocks = [];
  #sound = new Blob();
  #started = false;
  #ended = false;
  #reason = null; // why it ended before it had started
  #items = [];

  /** @param {{onText: (text: string) => void, onDraft: (text: string) => void, onLevel: (level: number) => void,
   *   onEnd: (error: Error|null) => void}} told */
  constructor(told) {
    this.told = told;
  }

  /** Begin to listen; the promise is kept when the server does. */
  async start({ model, language, target }) {
    if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
      throw new Refused("Browsers give the microphone to pages from localhost or over https only.");
    }
    try {
      const stream = await this.#open();
      this.#tracks = stream.getTracks();
      this.#socket = await openLive();
      this.#socket.onmessage = ({ data }) => this.#obey(JSON.parse(data));
      this.#socket.onclose = ({ reason }) => this.#end(new Refused(reason || "The server ended the live session."));
      this.#send({ type: "session.update", session: sessionOf(model, language, target) });
      await this.#listen(stream);
      if (this.#reason) throw this.#reason;
      this.#started = true;
    } catch (error) {
      this.#close();
      if (this.#reason) throw this.#reason;
      throw REASONS[error.name] ? new Refused(REASONS[error.name]) : error;
    }
  }

  /** No more sound; `onEnd` is called when the text of all sound is there. */
  stop() {
    this.#worklet.port.postMessage("rest");
  }

  /** Neither more sound nor more text; `onEnd` is not called. */
  cancel() {
    this.#close();
  }

  /** What was said, as the server's verbose_json has it, without words. */
  get transcript() {
    const segments = this.#items.filter(({ text }) => text);
    return { text: segments.map(({ text }) => text).join(" "), segments, words: [] };
  }

  /** What was heard, as a recording. */
  get recording() {
    const sound = new Blob([this.#sound, ...this.#blocks]);
    return new File([wavHeader(sound.size), sound], "microphone.wav", { type: "audio/wav" });
  }

  #open() {
    // The model was trained on sound as it is, so nothing but the loudness is changed.
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
    return navigator.mediaDevices.getUserMedia({ audio });
  }

  async #listen(stream) {
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
    await this.#context.resume();
    this.#worklet = new AudioWorkletNode(this.#context, "microphone", { numberOfOutputs: 0 });
    this.#worklet.port.onmessage = ({ data }) => this.#hear(data);
    this.#context.createMediaStreamSource(stream).connect(this.#worklet);
    for (const track of this.#tracks) track.onended = () => this.stop();
  }

  #hear({ samples, isLast }) {
    if (this.#ended) return;
    if (samples.length) {
      this.#keep(samples);
      this.#send({ type: "input_audio_buffer.append", audio: base64(samples) });
      this.told.onLevel(levelOf(samples));
    }
    if (this.#socket.bufferedAmount > MOST_WAITING) {
      this.#end(new Refused("The server is too slow for live sound: it is more than a minute behind."));
    }
    if (!isLast) return;
    this.#worklet.port.onmessage = null; // the audio thread goes on until it is closed
    // The server does these in order, so the answer to the second comes after all text.
    this.#send({ type: "input_audio_buffer.commit" });
    this.#send({ type: "input_audio_buffer.clear" });
    this.#release();
  }

  #obey(event) {
    const kind = event.type.replace("conversation.item.input_audio_transcription.", "");
    if (kind === "delta") this.told.onText(event.delta);
    else if (kind === "draft") this.told.onDraft(event.draft);
    else if (kind === "completed") {
      this.#items.push({ start: event.start, end: event.end, text: event.transcript });
      if (event.transcript) this.told.onText(" ");
    } else if (event.type === "input_audio_buffer.cleared") this.#end(null);
    else if (event.type === "error" && event.error.code !== "input_audio_buffer_commit_empty") {
      this.#end(new Refused(event.error.message));
    }
  }

  #send(event) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event));
  }

  /** Memory holds a minute; the browser may put the rest elsewhere. */
  #keep(block) {
    this.#blocks.push(block);
    if (this.#blocks.length < MINUTE) return;
    this.#sound = new Blob([this.#sound, ...this.#blocks]);
    this.#blocks = [];
  }

  #end(error) {
    if (this.#ended) return;
    this.#close();
    if (this.#started) this.told.onEnd(error);
    else this.#reason = error;
  }

  #close() {
    this.#ended = true;
    if (this.#socket) this.#socket.onclose = null;
    this.#socket?.close();
    this.#release();
  }

  #release() {
    for (const track of this.#tracks) track.stop();
    this.#tracks = [];
    this.#context?.close();
    this.#context = null;
  }
}

function sessionOf(model, language, target) {
  const transcription = { model, language: language || null };
  if (target && target !== language) transcription.target_language = target;
  return { type: "transcription", audio: { input: { format: { type: "audio/pcm", rate: RATE }, transcription } } };
}

/** 16-bit samples as text; every machine with a browser has little-endian ones, as pcm16 wants. */
function base64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer)));
}

/** Loudness from 0 to 1, as ears tell it. */
function levelOf(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return Math.max(0, Math.min(1, 1 + Math.log10(power / 32768 ** 2 + 1e-9) / 4));
}

/** The header of 16-bit samples of one channel. */
function wavHeader(size) {
  const view = new DataView(new ArrayBuffer(44));
  const word = (at, text) => [...text].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, size, true);
  return view.buffer;
}
