/** What an edited preset says of itself: a name, and whence it comes, that are still true. */
import { bypassOf, rounded, settingsOf } from "./preset.js";

/**
 * Settings and switches in which two strips differ, as their files hold them.
 *
 * @returns {string[]} keys in the table's order, then switches
 */
export function changedKeys(before, after, { table, switches }) {
  const [old, now] = [before, after].map((strip) => settingsOf(strip, table));
  const [offBefore, offNow] = [before, after].map((strip) => bypassOf(strip, switches));
  const differs = (p) => rounded(p, old[p.key]) !== rounded(p, now[p.key]);
  return [
    ...table.filter(differs).map((p) => p.key),
    ...switches.filter((name) => offBefore.has(name) !== offNow.has(name)),
  ];
}

/**
 * Name and provenance of a version's strip as it is downloaded. What the original claims of itself
 * (a model, a date, a distance) stands under `original`; of the uncertainty stays what belongs to
 * settings that nobody changed.
 *
 * @param {{name: string, presetName: string, provenance: object, original: object, amount: number}}
 *   version
 * @param {object} strip what is downloaded
 * @param {object} page table, switches, diffconsole
 * @param {Date} now
 */
export function labelled(version, strip, page, now) {
  const { presetName, provenance, original, amount } = version;
  const changed = changedKeys(original, strip, page);
  if (changed.length === 0) return { name: presetName, provenance };
  const from = presetName || version.name;
  const { uncertainty, ...claims } = provenance ?? {};
  const edited = { from, changed };
  if (amount !== 1) edited.amount = amount;
  const result = {
    description: `Edited from ${from}`,
    edited,
    created: now.toISOString().replace(/\.\d+Z$/, "+00:00"),
    diffconsole: page.diffconsole,
  };
  if (Object.keys(claims).length) result.original = claims;
  const isKnown = uncertainty !== null && typeof uncertainty === "object" && !Array.isArray(uncertainty);
  const kept = isKnown ? Object.entries(uncertainty).filter(([key]) => !changed.includes(key)) : [];
  if (kept.length) result.uncertainty = Object.fromEntries(kept);
  return { name: from.endsWith("(edited)") ? from : `${from} (edited)`, provenance: result };
}
