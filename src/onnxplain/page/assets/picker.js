/** A list to choose a class from: the five best ones, or those that a search finds. */

const BEST = 5, FOUND = 20;

export class Picker {
  /** `none` is the text of the choice of no class, if there is one; `chosen(index or null)` is called on a choice. */
  constructor(fieldset, { none = null, chosen }) {
    this.name = fieldset.id;
    this.search = fieldset.querySelector(".search");
    this.options = fieldset.querySelector(".options");
    this.none = none;
    this.scores = [];
    this.value = null;
    this.search.addEventListener("input", () => this.render());
    this.options.addEventListener("change", ({ target }) => {
      this.value = target.value === "" ? null : Number(target.value);
      chosen(this.value);
    });
  }

  /** Show the classes of a model with their scores and, where it has any, probabilities. */
  show({ labels, scores, probabilities, value }) {
    Object.assign(this, { labels, scores, probabilities, value });
    this.order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
    this.search.disabled = false;
    this.render();
  }

  label(index) {
    return this.labels?.[index] ?? `class ${index}`;
  }

  render() {
    if (!this.scores.length) return;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (index) => words.every((word) => `${this.label(index).toLowerCase()} ${index}`.includes(word));
    const found = words.length ? this.order.filter(fits).slice(0, FOUND) : this.order.slice(0, BEST);
    if (this.value !== null && !found.includes(this.value)) found.push(this.value);
    const rows = found.map((index) => option(this.name, index, this.label(index), this.share(index), index === this.value));
    if (this.none !== null) rows.unshift(option(this.name, "", this.none, "", this.value === null));
    const focused = document.activeElement?.name === this.name ? document.activeElement.value : null;
    this.options.replaceChildren(...rows);
    if (focused !== null) this.options.querySelector(`input[value="${focused}"]`)?.focus();
  }

  share(index) {
    if (!this.probabilities) return this.scores[index].toFixed(2);
    const percent = 100 * this.probabilities[index];
    return percent < 0.05 ? "< 0.1 %" : `${percent.toFixed(1)} %`;
  }
}

/** A radio button with a text and a number. */
export function option(name, value, text, share, checked) {
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "radio", name, value, checked });
  const parts = [text, share].map((content) => Object.assign(document.createElement("span"), { textContent: content }));
  label.append(input, ...parts);
  return label;
}

/** Probabilities of scores, as the model states them; null where scores have no such meaning. */
export function probabilitiesOf(scores, kind, labels) {
  if (kind === "identity") return scores;
  if (kind === "sigmoid") return scores.map((score) => 1 / (1 + Math.exp(-score)));
  if (kind !== "softmax" && !(kind === "labelled" && labels)) return null;
  const most = scores.reduce((a, b) => Math.max(a, b)), powers = scores.map((score) => Math.exp(score - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}
