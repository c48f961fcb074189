/** Number fields of the parameter table: value, unit, range, keyboard steps, what was not taken. */
import { titleOf } from "../chain.js";
import { parseNumber } from "./numbers.js";

const FINE_DB = 0.1;
const COARSE_DB = 1;
const FINE_RATIO = 1.02;
const COARSE_RATIO = 1.1;
const UNIT_WORDS = { dB: "decibels", dBFS: "decibels full scale", Hz: "hertz", ms: "milliseconds", s: "seconds", ":1": "to one", "%": "percent" };

/** What a parameter is called: its name without the unit. @param {{name: string}} parameter */
export function labelOf({ name }) {
  if (name === "q") return "Q";
  const words = name.replace(/_(db|hz|ms|s)$/, "").replace("freq", "frequency").replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** A value as the field shows it. @param {{unit: string}} parameter @param {number} value */
export function shownValue(parameter, value) {
  // As many digits as serve, but so many at least behind the point that columns align.
  const { unit } = parameter;
  const least = unit === "dB" || unit === "dBFS" ? 1 : unit === "" || unit === ":1" ? 2 : 0;
  const text = String(Number(unit.startsWith("dB") ? value.toFixed(2) : value.toPrecision(4)));
  const digits = text.split(".")[1]?.length ?? 0;
  return digits < least ? value.toFixed(least) : text;
}

/** A step up or down from a value. */
export function stepped(parameter, value, direction, coarse) {
  if (parameter.scale === "log") return value * (coarse ? COARSE_RATIO : FINE_RATIO) ** direction;
  if (parameter.unit === "dB" || parameter.unit === "dBFS") {
    return value + direction * (coarse ? COARSE_DB : FINE_DB);
  }
  return value + (direction * (parameter.high - parameter.low)) / (coarse ? 20 : 200);
}

const withUnit = (text, unit) => (unit === ":1" ? `${text}:1` : `${text} ${unit}`.trim());

/**
 * Let a text field hold a number: what is typed is read as people write numbers, held within the
 * range, and refused where it is none; the note says so.
 *
 * @param {HTMLInputElement} input
 * @param {HTMLElement} note empty while there is nothing to say
 * @param {import("../preset.js").Parameter} parameter
 * @param {object} options read(): number, write(value), shown(value): text, step(value, direction,
 *   coarse): value
 * @returns {function(): void} shows the value again
 */
export function bindNumber(input, note, parameter, { read, write, shown, step }) {
  const { low, high, unit } = parameter;
  Object.assign(input, { type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false });
  input.classList.add("number");
  input.setAttribute("role", "spinbutton");
  input.setAttribute("aria-valuemin", low);
  input.setAttribute("aria-valuemax", high);
  note.classList.add("note");
  note.setAttribute("role", "status");
  note.id ||= `note-${parameter.key}`;
  input.setAttribute("aria-describedby", note.id);
  let noted = null;
  const say = (text, refused = false) => {
    note.textContent = text;
    noted = text ? read() : null;
    input.classList.toggle("held", text !== "");
    input.setAttribute("aria-invalid", String(refused));
  };
  const refresh = () => {
    const value = read();
    // A note belongs to the value that it left.
    if (noted !== null && noted !== value) say("");
    input.setAttribute("aria-valuenow", value);
    input.setAttribute("aria-valuetext", withUnit(shown(value), unit));
    if (document.activeElement !== input || !input.dataset.typing) input.value = shown(value);
  };
  /** Write a value within the range. */
  const put = (value) => {
    const held = Math.min(Math.max(value, low), high);
    write(held);
    say(held === value ? "" : `Held at ${withUnit(shown(held), unit)}: the range is ${low} to ${withUnit(high, unit)}`);
  };
  const take = () => {
    if (!input.dataset.typing) return;
    delete input.dataset.typing;
    const typed = input.value.trim();
    const value = parseNumber(typed, parameter);
    if (value !== null) put(value);
    else if (typed !== "") {
      const part = typed.length > 16 ? `${typed.slice(0, 15)}…` : typed;
      const what = unit && unit !== ":1" ? `a value in ${unit}` : "a value";
      say(`“${part}” cannot be read as ${what}; still ${withUnit(shown(read()), unit)}`, true);
    }
    refresh();
  };
  input.addEventListener("input", () => {
    input.dataset.typing = "1";
    say("");
  });
  input.addEventListener("change", take);
  input.addEventListener("blur", take);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") take();
    if (event.key === "Escape" && input.dataset.typing) {
      delete input.dataset.typing;
      refresh();
    }
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    take();
    put(step(read(), event.key === "ArrowUp" ? 1 : -1, event.shiftKey));
    refresh();
  });
  return refresh;
}

/**
 * Make a field.
 *
 * @param {import("../preset.js").Parameter} parameter
 * @param {object} options read(): number, write(value), short: without a visible label, and with a
 *   note that is put elsewhere
 * @returns {{element: HTMLElement, note: HTMLElement, refresh: function(): void}}
 */
export function makeField(parameter, { read, write, short = false }) {
  const element = document.createElement("label");
  element.className = short ? "field short" : "field";
  const label = document.createElement("span");
  label.className = short ? "visually-hidden" : "field-label";
  label.textContent = short ? `${titleOf(parameter.section)} ${labelOf(parameter)}` : labelOf(parameter);
  const input = document.createElement("input");
  input.dataset.key = parameter.key;
  const unit = parameter.unit === ":1" ? ":1" : parameter.unit;
  const range = `${parameter.low} to ${parameter.high} ${unit}`.trim();
  input.title = `${parameter.meaning}: ${range}`;
  const spoken = UNIT_WORDS[parameter.unit] ?? "";
  input.setAttribute("aria-label", `${titleOf(parameter.section)} ${labelOf(parameter)} ${spoken}`.trim());
  const unitElement = document.createElement("span");
  unitElement.className = "unit";
  unitElement.textContent = unit;
  unitElement.setAttribute("aria-hidden", "true");
  const note = document.createElement("span");
  element.append(label, input, unitElement);
  if (!short) element.append(note);
  const refresh = bindNumber(input, note, parameter, {
    read,
    write,
    shown: (value) => shownValue(parameter, value),
    step: (value, direction, coarse) => stepped(parameter, value, direction, coarse),
  });
  return { element, note, refresh };
}

/** An on/off button of a module or band. @param {string} section */
export function makeSwitch(section, { read, write }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "switch";
  button.dataset.switch = section;
  button.setAttribute("role", "switch");
  button.setAttribute("aria-label", `${titleOf(section)} on`);
  button.addEventListener("click", () => write(!read()));
  const refresh = () => button.setAttribute("aria-checked", String(read()));
  return { element: button, refresh };
}
