// Sound at the browser's rate in, blocks of 16-bit samples at 16 kHz out. Runs in the audio thread.

const RATE = 16_000;
const BLOCK = 1600; // a tenth of a second
const HALF_WIDTH = 16; // of the filter, in periods of its cutoff

// Output sample n lies at n * UP / DOWN input samples, so that there are DOWN filters, one for each place between two.
const common = divisor(sampleRate, RATE);
const [UP, DOWN] = [sampleRate / common, RATE / common];
const CUTOFF = Math.min(1, RATE / sampleRate);
const REACH = Math.ceil(HALF_WIDTH / CUTOFF);
const FILTERS = Array.from({ length: DOWN }, (_, n) => filterAt(n / DOWN));

class Microphone extends AudioWorkletProcessor {
  #input = new Float32Array(REACH); // silence before the first sample
  #next = REACH; // the input sample at or before the next output sample
  #place = 0; // how far after it, in parts of DOWN
  #block = new Int16Array(BLOCK);
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = () => this.#send(true); // the rest, when it is asked for
  }

  process([channels]) {
    if (channels.length) this.#hear(mean(channels));
    return true;
  }

  #hear(samples) {
    const known = new Float32Array(this.#input.length + samples.length);
    known.set(this.#input);
    known.set(samples, this.#input.length);
    while (this.#next + REACH < known.length) {
      this.#put(filtered(known, this.#next - REACH, FILTERS[this.#place]));
      const ahead = this.#place + UP;
      this.#next += Math.floor(ahead / DOWN);
      this.#place = ahead % DOWN;
    }
    const done = Math.min(this.#next - REACH, known.length);
    this.#input = known.slice(done);
    this.#next -= done;
  }

  #put(sample) {
    this.#block[this.#filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
    if (this.#filled === BLOCK) this.#send();
  }

  #send(isLast = false) {
    const samples = this.#block.slice(0, this.#filled);
    this.#filled = 0;
    this.port.postMessage({ samples, isLast }, [samples.buffer]);
  }
}

/** A windowed sinc, moved by a part of a sample: what is above half the lower of the two rates does not come through. */
function filterAt(part) {
  return Float32Array.from({ length: 2 * REACH + 1 }, (_, n) => {
    const x = n - REACH - part;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x * CUTOFF) / (Math.PI * x * CUTOFF);
    return CUTOFF * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / (REACH + 1)));
  });
}

function filtered(samples, start, filter) {
  let sum = 0;
  for (let n = 0; n < filter.length; n++) sum += samples[start + n] * filter[n];
  return sum;
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

function mean(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, n) => channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length);
}

registerProcessor("microphone", Microphone);
