/**
 * How loud a version is while it is edited. What the gains do is known at once; a few seconds around
 * the playhead through old and new settings show the rest; a whole render then measures it.
 */
import { TWINS, ownOf } from "../chain.js";

const LEAD_SECONDS = 1;
const BEHIND_SECONDS = 0.5;
const PART_SECONDS = 3;
const QUIET = 0.1;

/**
 * By how much a change of the gains raises the level at most, in dB: exact but for a gain before a
 * compressor, of which the louder outcome counts.
 *
 * @param {{settings: Object<string, number>, off: Set<string>}} before
 * @param {{settings: Object<string, number>, off: Set<string>}} after
 */
export function gainChangeDb(before, after) {
  const dry = TWINS.filter(({ place }) => place !== "send");
  return dry.reduce((db, module) => {
    const [old, now] = [before, after].map((strip) => ownOf(module, strip));
    if (module.levelChangeDb) return module.levelChangeDb(db, old, now);
    const gain = ({ settings, isOn }) => (module.gainAfter && isOn() ? settings[module.gainAfter] : 0);
    return db + gain(now) - gain(old);
  }, 0);
}

/**
 * The part of a vocal that is measured: around the playhead, or where the vocal is loudest if there
 * is next to nothing.
 *
 * @param {Float32Array} peaks of the raw vocal, over `length` samples
 * @param {object} vocal position, length, samples, sampleRate; in samples and Hz
 * @returns {{lead: number, from: number, to: number}} samples; before `from` it is not counted
 */
export function partOf(peaks, { position, length, samples, sampleRate }) {
  const size = Math.min(Math.round(PART_SECONDS * sampleRate), samples);
  const around = (from) => {
    const start = Math.round(Math.min(Math.max(from, 0), samples - size));
    return { lead: Math.max(start - Math.round(LEAD_SECONDS * sampleRate), 0), from: start, to: start + size };
  };
  const energy = ({ from, to }) => {
    let sum = 0;
    const stop = Math.max(Math.ceil((to / length) * peaks.length), 1);
    for (let i = Math.floor((from / length) * peaks.length); i < stop; i++) sum += (peaks[i] ?? 0) ** 2;
    return sum;
  };
  // In steps of a second, so that what older settings made of a part serves several edits.
  const behind = position - BEHIND_SECONDS * sampleRate;
  const here = around(Math.floor(behind / sampleRate) * sampleRate);
  let loudest = here;
  for (let from = 0; from + size <= samples; from += size / 2) {
    if (energy(around(from)) > energy(loudest)) loudest = around(from);
  }
  return energy(here) >= QUIET ** 2 * energy(loudest) ? here : loudest;
}

const finite = (loudness) => (Number.isFinite(loudness) ? loudness : null);

/** Loudness and peak after a change that is known in dB. */
export function raised({ loudness, peak }, db) {
  return { loudness: loudness === null ? null : loudness + db, peak: peak * 10 ** (db / 20) };
}

/**
 * Loudness and peak of the whole after an edit, from those of a part before and after it.
 *
 * @param {{loudness: ?number, peak: number}} whole before the edit
 * @param {{before: object, after: object}} part
 */
export function estimated(whole, { before, after }) {
  const [old, now] = [finite(before.loudness), finite(after.loudness)];
  const isKnown = whole.loudness !== null && old !== null && now !== null;
  const loudness = isKnown ? whole.loudness + now - old : now;
  const peak = before.peak > 0 && whole.peak > 0 ? (whole.peak * after.peak) / before.peak : after.peak;
  return { loudness, peak };
}
