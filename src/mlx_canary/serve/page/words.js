// The transcript on the page: text as it comes, then words that can be played and that light up.

const SKIPS = { ArrowRight: 1, ArrowLeft: -1 };

export class Words {
  #place;
  #said = null; // text that stays, while it comes
  #draft = null; // text after it that may change
  #words = [];
  #starts = [];
  #current = -1;

  /**
   * @param {HTMLElement} place Where the text stands.
   * @param {(seconds: number) => void} onWord Told the start of a word that is to be heard.
   */
  constructor(place, onWord) {
    this.#place = place;
    place.addEventListener("click", (event) => this.#chosen(event.target, onWord));
    place.addEventListener("keydown", (event) => this.#key(event, onWord));
  }

  clear() {
    this.#place.replaceChildren();
    this.#place.removeAttribute("role");
    [this.#said, this.#draft, this.#words, this.#starts, this.#current] = [null, null, [], [], -1];
  }

  /** More text, that stays. */
  append(text) {
    this.#begin();
    this.#said.appendData(text);
    this.#keepInSight();
  }

  /** Text that may still change; screen readers hear it when it stays. */
  draft(text) {
    this.#begin();
    this.#draft.textContent = text;
    this.#keepInSight();
  }

  /** What came so far, without the draft. */
  get said() {
    return this.#said?.data.trim() ?? "";
  }

  /**
   * The whole transcript, instead of what came so far: words that can be played, or where there are none, segments.
   * @param {{text: string, segments: {start: number, end: number, text: string}[], words: {word: string, start: number,
   *   end: number}[]}} transcript
   */
  show({ segments, words }) {
    this.clear();
    const units = words.length ? words.map((word) => ({ ...word, text: word.word })) : segments;
    let paragraph = null;
    units.forEach((unit, n) => {
      if (!paragraph || beginsParagraph(paragraph, units[n - 1], unit)) {
        paragraph = this.#place.appendChild(document.createElement("p"));
      }
      paragraph.append(...(paragraph.hasChildNodes() ? [" "] : []), this.#unit(unit, n));
    });
    if (units.length) this.#place.setAttribute("role", "group");
    this.#starts = units.map(({ start }) => start);
    this.kind = words.length ? "word" : "sentence";
  }

  /** Light up the word that is spoken at a time; none for null. */
  follow(seconds) {
    const n = seconds === null ? -1 : lastNotAfter(this.#starts, seconds + 0.02);
    if (n === this.#current) return;
    this.#words[this.#current]?.removeAttribute("aria-current");
    this.#current = n;
    if (n < 0) return;
    this.#words[n].setAttribute("aria-current", "true");
    this.#words[n].scrollIntoView({ block: "nearest" });
  }

  get playable() {
    return this.#words.length > 0;
  }

  #begin() {
    if (this.#said) return;
    const paragraph = this.#place.appendChild(document.createElement("p"));
    this.#said = paragraph.appendChild(document.createTextNode(""));
    this.#draft = paragraph.appendChild(document.createElement("span"));
    this.#draft.className = "draft";
    this.#draft.setAttribute("aria-hidden", "true");
  }

  #unit({ text, start }, n) {
    const span = document.createElement("span");
    span.className = "word";
    span.textContent = text.trim();
    span.dataset.start = start;
    span.setAttribute("role", "button");
    span.tabIndex = n === 0 ? 0 : -1; // one stop for Tab, arrows within
    this.#words.push(span);
    return span;
  }

  #chosen(target, onWord) {
    const word = target.closest(".word");
    if (!word) return false;
    this.#focus(word);
    onWord(Number(word.dataset.start));
    return true;
  }

  #key(event, onWord) {
    const at = this.#words.indexOf(event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") this.#chosen(event.target, onWord);
    else if (event.key in SKIPS) this.#focus(this.#words[at + SKIPS[event.key]]);
    else if (event.key === "Home") this.#focus(this.#words[0]);
    else if (event.key === "End") this.#focus(this.#words.at(-1));
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#focus(this.#inNextLine(at, event.key));
    else return;
    event.preventDefault();
  }

  /** The nearest word of the line below or above. */
  #inNextLine(at, key) {
    const here = this.#words[at].getBoundingClientRect();
    const step = key === "ArrowDown" ? 1 : -1;
    let best = null;
    let line = null;
    for (let n = at + step; n >= 0 && n < this.#words.length; n += step) {
      const box = this.#words[n].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < 4) continue;
      line ??= box.top;
      if (Math.abs(box.top - line) >= 4) break;
      const distance = Math.abs(box.left - here.left);
      if (!best || distance < best.distance) best = { distance, word: this.#words[n] };
    }
    return best?.word;
  }

  #focus(word) {
    if (!word) return;
    for (const other of this.#place.querySelectorAll('.word[tabindex="0"]')) other.tabIndex = -1;
    word.tabIndex = 0;
    word.focus();
  }

  #keepInSight() {
    const view = this.#place.closest("main");
    if (view.scrollHeight - view.scrollTop - view.clientHeight < 160) view.scrollTop = view.scrollHeight;
  }
}

/** After a long pause, or where a long paragraph comes to the end of a sentence. */
function beginsParagraph(paragraph, last, unit) {
  const pause = unit.start - last.end;
  return pause > 2 || (pause > 0.3 && paragraph.textContent.length > 400 && /[.!?…]["'»”)]*$/.test(last.text));
}

/** Index of the last of ascending numbers that is not above a value; -1 where all are. */
function lastNotAfter(numbers, value) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
