// Plays the local recording and says where it is. Knows nothing about words.

const element = (id) => document.getElementById(id);

export class Player {
  #audio = element("audio");
  #range = element("position");
  #frame = 0;
  #address = null;

  /** @param {(seconds: number|null) => void} onTime Told while it plays and when it is moved; null at the end. */
  constructor(onTime) {
    this.onTime = onTime;
    this.#audio.addEventListener("loadedmetadata", () => this.#show(true));
    this.#audio.addEventListener("play", () => this.#playing(true));
    this.#audio.addEventListener("pause", () => this.#playing(false));
    this.#audio.addEventListener("seeking", () => this.#moved());
    this.#audio.addEventListener("ended", () => onTime(null));
    this.#range.addEventListener("input", () => {
      this.#audio.currentTime = Number(this.#range.value);
    });
    element("play").addEventListener("click", () => this.toggle());
  }

  /** Take a recording; one that this browser cannot play has no player, and its words play nothing. */
  load(file) {
    this.unload();
    this.#address = URL.createObjectURL(file);
    this.#audio.src = this.#address;
  }

  unload() {
    this.#show(false);
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = null;
  }

  get ready() {
    return this.#audio.readyState >= HTMLMediaElement.HAVE_METADATA;
  }

  get duration() {
    return this.#audio.duration;
  }

  playFrom(seconds) {
    if (!this.ready) return;
    this.#audio.currentTime = seconds;
    this.#audio.play();
  }

  toggle() {
    if (this.#audio.paused) this.#audio.play();
    else this.#audio.pause();
  }

  #playing(yes) {
    element("player").classList.toggle("playing", yes);
    element("play").setAttribute("aria-label", yes ? "Pause" : "Play");
    cancelAnimationFrame(this.#frame);
    if (yes) this.#follow();
  }

  #follow() {
    this.#moved();
    this.#frame = requestAnimationFrame(() => this.#follow());
  }

  #moved() {
    const now = this.#audio.currentTime;
    this.#range.value = now;
    const told = `${clock(now)} of ${clock(this.#audio.duration)}`;
    if (this.#range.getAttribute("aria-valuetext") !== told) {
      this.#range.setAttribute("aria-valuetext", told);
      element("clock").textContent = told.replace(" of ", " / ");
    }
    this.onTime(now);
  }

  #show(yes) {
    element("player").hidden = !yes;
    if (!yes) return;
    this.#range.max = Number.isFinite(this.#audio.duration) ? this.#audio.duration : 0;
    this.#range.value = 0;
    element("clock").textContent = `0:00 / ${clock(this.#audio.duration)}`;
  }
}

export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–:––";
  const whole = Math.floor(seconds);
  const pad = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}
