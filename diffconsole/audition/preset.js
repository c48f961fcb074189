/**
 * The preset as the page edits it: settings, what is off, amount, rounding, the file. The rules are
 * those of `diffconsole/strip/preset.py` and `amount.py`; the table of parameters comes with the
 * page.
 *
 * A strip is the preset's modules as the file holds them, `{eq: {peak_1: {gain_db: 3}}}`.
 */
import { MODULES } from "./modules.js";

/** @typedef {{key: string, section: string, name: string, unit: string, low: number,
 *   high: number, scale: string, default: number, meaning: string, amount: string, follows: string,
 *   decimals: ?number, since: number}} Parameter */

const place = (strip, section) =>
  section.split(".").reduce((inner, part) => inner?.[part], strip);

/** Every parameter by key; what is missing has the table's default. */
export function settingsOf(strip, table) {
  return Object.fromEntries(
    table.map((p) => [p.key, place(strip, p.section)?.[p.name] ?? p.default]),
  );
}

/** Modules and bands that are off, absent ones included. @returns {Set<string>} */
export function bypassOf(strip, switches) {
  return new Set(switches.filter((name) => !(place(strip, name)?.enabled ?? place(strip, name))));
}

/** Whether a band is off itself or with its module. */
export function isOff(off, section) {
  return off.has(section) || off.has(section.split(".")[0]);
}

/** Switch a module or band on or off; what was absent begins with the table's defaults. */
export function setEnabled(strip, name, enabled) {
  const parts = name.split(".");
  let inner = strip;
  for (const part of parts) {
    inner[part] ??= parts.length > 1 && part === parts[0] ? { enabled } : {};
    inner = inner[part];
  }
  inner.enabled = enabled;
}

/** Change one setting, rounded as the file holds it, within its range. */
export function setValue(strip, parameter, value) {
  let inner = strip;
  const parts = parameter.section.split(".");
  parts.forEach((part, i) => {
    // Edited while off, a module stays off.
    inner[part] ??= i === parts.length - 1 || inner === strip ? { enabled: false } : {};
    inner = inner[part];
  });
  inner[parameter.name] = rounded(parameter, Math.min(Math.max(value, parameter.low), parameter.high));
}

/** As a preset's file holds it: 0.001 dB, the table's decimals, or five digits. @param {Parameter} parameter */
export function rounded(parameter, value) {
  const { unit, decimals, low, high } = parameter;
  const clip = (x) => Math.min(Math.max(x, low), high) + 0;
  if (unit === "dB" || unit === "dBFS") return clip(Number(value.toFixed(3)));
  return clip(Number((decimals ?? null) === null ? value.toPrecision(5) : value.toFixed(decimals)));
}

/** How a setting follows the amount, above 0, by the name of its rule. */
const RULES = {
  keep: (_, value) => value,
  gain: (_, value, amount) => amount * value,
  ratio: (_, value, amount) => value ** amount,
  level: ({ idle }, value, amount) => (value === idle ? value : value + 20 * Math.log10(amount)),
  to_low_end: ({ low }, value, amount) => low * (value / low) ** amount,
  to_high_end: ({ high }, value, amount) => high * (value / high) ** amount,
  resonance: (_, value, amount) => Math.SQRT1_2 * (value / Math.SQRT1_2) ** Math.min(amount, 1),
};

/** @param {Parameter} parameter @param {number} value @param {number} amount */
export function scaled(parameter, value, amount) {
  const { low, high } = parameter;
  return Math.min(Math.max(RULES[parameter.amount](parameter, value, amount), low), high);
}

/**
 * The strip with less or more of what it does: 0 nothing, 1 as it is, up to 1.5. Rounded as its
 * file, so that what is heard is what a download holds.
 */
export function atAmount(strip, amount, table, switches) {
  if (amount === 1) return strip;
  if (amount === 0) return {};
  const before = settingsOf(strip, table);
  const off = bypassOf(strip, switches);
  const result = structuredClone(strip);
  for (const p of table) {
    const section = place(result, p.section);
    if (!section) continue;
    let value = scaled(p, before[p.key], amount);
    const gain = table.find((other) => other.key === p.follows);
    if (gain && !off.has(gain.section)) {
      // A level after a gain keeps its place in the signal.
      value = before[p.key] + scaled(gain, before[gain.key], amount) - before[gain.key];
    }
    section[p.name] = rounded(p, Math.min(Math.max(value, p.low), p.high));
  }
  return result;
}

/** The minor version of the format that a module or parameter needs. */
const sinceOf = (section) => MODULES.find(({ key }) => key === section.split(".")[0])?.since ?? 0;

/**
 * What the preset's file holds, keys in chain order. It states the lowest version that holds that;
 * a parameter that came later than its module is left out where it stands at its default.
 */
export function presetFile(strip, { name, provenance }, { format, table, switches }) {
  const file = { $schema: format.schema, format: format.format, version: format.version };
  let minor = 0;
  if (name) file.name = name;
  for (const section of switches) {
    const source = place(strip, section);
    if (!source) continue;
    let inner = file;
    for (const part of section.split(".")) inner = inner[part] ??= {};
    minor = Math.max(minor, sinceOf(section));
    if ("enabled" in source) inner.enabled = source.enabled;
    for (const p of table) {
      if (p.section !== section || !(p.name in source)) continue;
      const isNewer = p.since > sinceOf(section);
      if (isNewer && source[p.name] === p.default) continue;
      inner[p.name] = source[p.name];
      minor = Math.max(minor, p.since);
    }
  }
  file.version = `1.${minor}`;
  if (Object.keys(provenance ?? {}).length) file.provenance = provenance;
  return `${JSON.stringify(file, null, 2)}\n`;
}
