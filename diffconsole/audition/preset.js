/**
 * The preset as the page edits it: settings, what is off, amount, rounding, the file. The rules are
 * those of `diffconsole/strip/preset.py`; the table of parameters comes with the page.
 *
 * A strip is the preset's modules as the file holds them, `{eq: {peak_1: {gain_db: 3}}}`.
 */

/** @typedef {{key: string, section: string, name: string, unit: string, low: number,
 *   high: number, scale: string, default: number, meaning: string}} Parameter */

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

/** 0.001 dB, pre-delay 10 ns, all else five digits. @param {Parameter} parameter */
export function rounded(parameter, value) {
  const clip = (x) => Math.min(Math.max(x, parameter.low), parameter.high) + 0;
  if (parameter.unit === "dB" || parameter.unit === "dBFS") return clip(Number(value.toFixed(3)));
  if (parameter.key === "reverb.pre_delay_ms") return clip(Number(value.toFixed(5)));
  return clip(Number(value.toPrecision(5)));
}

function scaled(parameter, value, amount) {
  const { key, name, low, high } = parameter;
  const clip = (x) => Math.min(Math.max(x, low), high);
  if (key === "compressor.ratio") return clip(value ** amount);
  if (key === "reverb.wet_db") return clip(value + 20 * Math.log10(amount));
  if (["gain_db", "makeup_db", "position"].includes(name)) return clip(amount * value);
  if (key === "eq.high_pass.freq_hz") return clip(low * (value / low) ** amount);
  if (key === "eq.low_pass.freq_hz") return clip(high * (value / high) ** amount);
  if (key === "eq.high_pass.q" || key === "eq.low_pass.q") {
    return clip(Math.SQRT1_2 * (value / Math.SQRT1_2) ** Math.min(amount, 1));
  }
  return value;
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
    if (p.key === "compressor.threshold_db" && !off.has("input_gain")) {
      // The threshold follows the input gain: the compressor keeps its place in the signal.
      const input = table.find((other) => other.key === "input_gain.gain_db");
      const gain = before[input.key];
      value = before[p.key] + scaled(input, gain, amount) - gain;
    }
    section[p.name] = rounded(p, Math.min(Math.max(value, p.low), p.high));
  }
  return result;
}

/** What the preset's file holds, keys in chain order. */
export function presetFile(strip, { name, provenance }, { format, table, switches }) {
  const file = { $schema: format.schema, format: format.format, version: format.version };
  if (name) file.name = name;
  for (const section of switches) {
    const source = place(strip, section);
    if (!source) continue;
    let inner = file;
    for (const part of section.split(".")) inner = inner[part] ??= {};
    if ("enabled" in source) inner.enabled = source.enabled;
    for (const p of table) {
      if (p.section === section && p.name in source) inner[p.name] = source[p.name];
    }
  }
  if (Object.keys(provenance ?? {}).length) file.provenance = provenance;
  return `${JSON.stringify(file, null, 2)}\n`;
}
