/** Numbers as people write them: `2k`, `1,5`, `3 ms`, `2:1`, `−18 dB`, `80 %`. */

const UNITS = {
  Hz: { hz: 1, khz: 1000, k: 1000 },
  dB: { db: 1 },
  dBFS: { dbfs: 1, db: 1 },
  ms: { ms: 1, s: 1000, sec: 1000, us: 0.001, "µs": 0.001, "μs": 0.001 },
  s: { s: 1, sec: 1, ms: 0.001 },
  ":1": { ":1": 1, "/1": 1, to1: 1, x: 1 },
  "%": { "%": 1 },
  "": { "%": 0.01 },
};
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/;

/**
 * Readings of a decimal number, most likely first: `1,500` is 1.5 or 1500.
 *
 * @param {string} text without spaces
 * @returns {number[]} none where it is no number
 */
function readings(text) {
  const plain = (digits) => (NUMBER.test(digits) ? [Number(digits)] : []);
  if (/^[+-]?(∞|inf)$/.test(text)) return [text.startsWith("-") ? -Infinity : Infinity];
  if (!text.includes(",")) return plain(text);
  const thousands = /^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$/.test(text) ? plain(text.replaceAll(",", "")) : [];
  const points = /^[+-]?[1-9]\d{0,2}(\.\d{3})+,\d*$/.test(text);
  const decimal = /^[^,]*,[^,]*$/.test(text) && (points || !text.includes("."));
  return [...(decimal ? plain(text.replaceAll(".", "").replace(",", ".")) : []), ...thousands];
}

/**
 * Read what was typed into a field.
 *
 * @param {string} text
 * @param {{unit: string, low: number, high: number}} parameter
 * @returns {?number} null where it is no value in this unit, or can be two
 */
export function parseNumber(text, parameter) {
  const { unit, low, high } = parameter;
  const typed = text
    .toLowerCase()
    .replace(/[−–‒﹣－]/g, "-")
    .replace(/(\d)[\s']+(?=\d{3}(\D|$))/g, "$1")
    .replace(/(\d)\s+(?=\d)/g, "$1 ")
    .trim();
  if (/\d \d/.test(typed)) return null;
  const dense = typed.replace(/\s+/g, "");
  const ratio = unit === ":1" ? /^(.+?)(?::|\/|to)(.+)$/.exec(dense) : null;
  if (ratio) {
    const [over, under] = [readings(ratio[1]), readings(ratio[2])];
    if (over.length !== 1 || under.length !== 1 || !(under[0] > 0)) return null;
    return over[0] / under[0];
  }
  // Two thousand and a half as it stands on circuit boards: 2k5.
  const middle = unit === "Hz" ? /^(\d+)k(\d+)(?:hz)?$/.exec(dense) : null;
  if (middle) return 1000 * Number(`${middle[1]}.${middle[2]}`);
  const [, digits, suffix] = /^([+-]?(?:∞|inf|[\d.,]*(?:e[+-]?\d+)?))(.*)$/.exec(dense);
  const factor = suffix === "" ? 1 : UNITS[unit]?.[suffix];
  if (factor === undefined) return null;
  const found = readings(digits).map((value) => value * factor);
  const possible = found.filter((value) => value >= low && value <= high);
  if (found.length > 1 && possible.length !== 1) return null;
  return (found.length > 1 ? possible[0] : found[0]) ?? null;
}
