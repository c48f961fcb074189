/**
 * The ABX test: X is A or B, drawn anew each time; is it heard which? The p-value is the chance to
 * score as well by guessing, `Σ_{k ≥ right} C(n, k) / 2^n`.
 */

/** @param {number} right @param {number} trials */
export function pValue(right, trials) {
  let total = 0;
  let term = 1; // C(trials, trials)
  for (let k = trials; k >= right; k--) {
    total += term;
    term = (term * k) / (trials - k + 1);
  }
  return Math.min(total / 2 ** trials, 1);
}

export class AbxTest {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {object} actions versions(): names, listen(index or null to end), selected()
   */
  constructor(dialog, actions) {
    Object.assign(this, { dialog, actions });
    this.right = 0;
    this.trials = 0;
    const find = (name) => dialog.querySelector(`[data-abx="${name}"]`);
    this.parts = Object.fromEntries(
      ["first", "second", "a", "b", "x", "is-a", "is-b", "score", "answer", "again", "close"].map((n) => [n, find(n)]),
    );
    const { parts } = this;
    for (const name of ["a", "b", "x"]) parts[name].addEventListener("click", () => this.listen(name));
    parts["is-a"].addEventListener("click", () => this.answer("a"));
    parts["is-b"].addEventListener("click", () => this.answer("b"));
    parts.again.addEventListener("click", () => this.restart());
    parts.close.addEventListener("click", () => dialog.close());
    for (const name of ["first", "second"]) parts[name].addEventListener("change", () => this.restart());
    dialog.addEventListener("close", () => this.actions.listen(null));
    dialog.addEventListener("keydown", (event) => this.key(event));
  }

  open() {
    const { parts } = this;
    const names = this.actions.versions();
    const now = this.actions.selected();
    for (const [select, preferred] of [[parts.first, 0], [parts.second, now === 0 ? 1 : now]]) {
      select.replaceChildren(...names.map((name, i) => new Option(`${i + 1}  ${name}`, i)));
      select.value = String(Math.min(preferred, names.length - 1));
    }
    this.restart();
    this.dialog.showModal();
    parts.x.focus();
  }

  restart() {
    this.right = 0;
    this.trials = 0;
    this.parts.answer.textContent = "";
    this.draw();
    this.next();
  }

  next() {
    // An unbiased coin that the page's own script cannot foresee.
    this.truth = crypto.getRandomValues(new Uint8Array(1))[0] % 2 ? "a" : "b";
    this.listen("x");
  }

  listen(name) {
    const real = name === "x" ? this.truth : name;
    this.actions.listen(Number(real === "a" ? this.parts.first.value : this.parts.second.value));
    for (const other of ["a", "b", "x"]) {
      this.parts[other].setAttribute("aria-pressed", String(other === name));
    }
  }

  answer(name) {
    this.trials += 1;
    const hit = name === this.truth;
    if (hit) this.right += 1;
    this.parts.answer.textContent = `${hit ? "Right" : "Wrong"}: X was ${this.truth.toUpperCase()}. A new X is set.`;
    this.draw();
    this.next();
  }

  draw() {
    const p = pValue(this.right, this.trials);
    const shown = p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
    const words = this.trials === 0 ? "No answers yet" : `${this.right} of ${this.trials} right, ${shown}`;
    this.parts.score.textContent = words;
  }

  key(event) {
    if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey) return;
    const name = event.key.toLowerCase();
    if (["a", "b", "x"].includes(name)) this.listen(name);
    else if (name === "1" || name === "2") this.answer(name === "1" ? "a" : "b");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
