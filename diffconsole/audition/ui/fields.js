/** Number fields of the parameter table: value, unit, range, keyboard steps. */

const FINE_DB = 0.1;
const COARSE_DB = 1;
const FINE_RATIO = 1.02;
const COARSE_RATIO = 1.1;
const UNIT_WORDS = { dB: "decibels", dBFS: "decibels full scale", Hz: "hertz", ms: "milliseconds", s: "seconds", ":1": "to one" };

/** What a parameter is called: its name without the unit. @param {{name: string}} parameter */
export function labelOf({ name }) {
  if (name === "q") return "Q";
  const words = name.replace(/_(db|hz|ms|s)$/, "").replace("freq", "frequency").replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** What a module or band is called. @param {string} section */
export function titleOf(section) {
  const last = section.split(".").pop();
  const words = last === "eq" ? "EQ" : last.replaceAll("_", " ");
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

/**
 * Make a field.
 *
 * @param {import("../preset.js").Parameter} parameter
 * @param {object} options read(): number, write(value), short: without a visible label
 * @returns {{element: HTMLElement, refresh: function(): void}}
 */
export function makeField(parameter, { read, write, short = false }) {
  const element = document.createElement("label");
  element.className = short ? "field short" : "field";
  const label = document.createElement("span");
  label.className = short ? "visually-hidden" : "field-label";
  label.textContent = short ? `${titleOf(parameter.section)} ${labelOf(parameter)}` : labelOf(parameter);
  const input = document.createElement("input");
  Object.assign(input, { type: "number", step: "any", min: parameter.low, max: parameter.high });
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
  element.append(label, input, unitElement);

  const refresh = () => {
    if (document.activeElement !== input || !input.dataset.typing) input.value = shownValue(parameter, read());
  };
  input.addEventListener("input", () => (input.dataset.typing = "1"));
  const take = () => {
    if (!input.dataset.typing) return;
    delete input.dataset.typing;
    const value = Number(input.value);
    if (input.value.trim() !== "" && Number.isFinite(value)) write(value);
    refresh();
  };
  input.addEventListener("change", take);
  input.addEventListener("blur", take);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    take();
    write(stepped(parameter, read(), event.key === "ArrowUp" ? 1 : -1, event.shiftKey));
  });
  return { element, refresh };
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
