/**
 * The chain as the page runs it: each row of the table with its twin, which a module's folder holds
 * and exports as `module`:
 *
 * - `values(settings, isOn)`: numbers that glide while settings change, from settings by short name;
 *   `isOn(band)` says whether the module, or a band of it, is on.
 * - `make(sampleRate, channels, block)`: a processor. `set(now)` takes the values, `clear()` resets
 *   its state. An insert, gain or pan has `process(channels, from, to, now, before)`, in place;
 *   `before` holds the values at the first sample while they glide, else null. A send has
 *   `send(channels, left, right, now, before, target)` and adds its return. `meter` is
 *   `{loudest, lowest}` of a module whose gain reduction is shown (`hasMeter`).
 * - `fades`: the values say themselves whether it is on. Without it, it is faded in and out.
 * - `isIdle(settings, isOn)`: does nothing although it is on. `tailSamples(sampleRate, settings)`:
 *   how long it rings on.
 * - `sentOn(values)`: of a send, the level at which its return goes into the sends behind it as well,
 *   as the mean of its sides; 0 is none.
 * - `response`: what takes long to make from the settings, made apart and given to `setRoom`.
 * - `levelChangeDb(db, before, after)`: by how much an edit raises the level at most, where the level
 *   before it was raised by `db`. `curve(sampleRate, settings, isOn)`: `{xLabel, yLabel, x, lines,
 *   isLog}` for its panel.
 *
 * Only `values` and `make` are needed.
 */
import { MODULES } from "./modules.js";

/** The modules that the page can run. */
export const TWINS = MODULES.filter((module) => module.make);

/** What a module is called, or a band of it. @param {string} section */
export function titleOf(section) {
  const last = section.split(".").pop();
  const words = last.replaceAll("_", " ");
  return MODULES.find(({ key }) => key === last)?.title ?? words[0].toUpperCase() + words.slice(1);
}

/**
 * A module's part of a strip.
 *
 * @param {{key: string, defaults: object}} module
 * @param {{settings: Object<string, number>, off: Set<string>}} strip by key
 * @returns {{settings: Object<string, number>, isOn: function(string=): boolean}} by short name
 */
export function ownOf({ key, defaults }, { settings, off }) {
  const names = Object.keys(defaults);
  return {
    settings: Object.fromEntries(names.map((name) => [name, settings[`${key}.${name}`]])),
    isOn: (band) => !off.has(key) && !(band && off.has(`${key}.${band}`)),
  };
}

/** The modules that do something, in chain order, with their settings. */
export function active(settings, off) {
  return TWINS.map((module) => ({ module, ...ownOf(module, { settings, off }) })).filter(
    ({ module, settings: own, isOn }) => isOn() && !module.isIdle?.(own, isOn),
  );
}
