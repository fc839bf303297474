// The menus: which model, which language is spoken, in which one it is written down.

const element = (id) => document.getElementById(id);
const KEPT = "canary-languages";

export class Languages {
  #models = [];
  #wanted = kept();

  constructor() {
    element("model").addEventListener("change", () => this.#offerSpoken());
    element("spoken").addEventListener("change", () => this.#offerWritten());
    for (const id of ["model", "spoken", "written"]) element(id).addEventListener("change", () => this.#keep());
  }

  /** Offer what the served models can do. */
  offer(models) {
    this.#models = models;
    fill(element("model"), models.map(({ id }) => [id, id]), this.#wanted.model);
    element("model-label").hidden = models.length < 2;
    this.#offerSpoken();
    this.enable(true);
  }

  /** Menus that have one entry stay as they are. */
  enable(yes) {
    for (const id of ["model", "spoken", "written"]) element(id).disabled = !yes || element(id).options.length < 2;
  }

  get wishes() {
    return {
      model: element("model").value,
      language: element("spoken").value,
      target: element("written").value,
    };
  }

  /** What the chosen model can do. */
  get abilities() {
    return this.#models.find(({ id }) => id === element("model").value).canary;
  }

  #offerSpoken() {
    const { languages, default_language } = this.abilities;
    const known = (languages ?? []).map(({ code, name }) => [code, name]);
    const own = navigator.language.split("-")[0];
    const likely = known.some(([code]) => code === own) ? own : default_language;
    // A model that does not say what it knows hears its default.
    fill(element("spoken"), known.length ? known : [["", "as the model decides"]], this.#wanted.spoken ?? likely);
    this.#offerWritten();
  }

  #offerWritten() {
    const { languages, translations } = this.abilities;
    const spoken = element("spoken").value;
    const names = new Map((languages ?? []).map(({ code, name }) => [code, name]));
    const others = (translations ?? []).filter(({ source }) => source === spoken).map(({ target }) => target);
    fill(element("written"), [["", "the same"], ...others.map((code) => [code, names.get(code) ?? code])], this.#wanted.written);
    element("written").disabled = !others.length;
  }

  #keep() {
    const { model, language, target } = this.wishes;
    this.#wanted = { model, spoken: language, written: target };
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.#wanted));
    } catch {
      // A browser that keeps nothing: the choice holds until the page is closed.
    }
  }
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

function fill(menu, entries, wanted) {
  menu.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === wanted)) menu.value = wanted;
}
