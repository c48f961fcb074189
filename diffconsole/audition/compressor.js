/**
 * Compressor: `v = max|x|` over the channels, the branching one-pole
 * `s = a·s + (1 − a)·v`, a = a_attack if v > s else a_release, `a = exp(−1/(τ·fs))`, then
 * `L = 20·log10(max(s, 1e−6))` and the static curve with soft knee.
 */

/** One-pole coefficient of a time to 63 %. @param {number} timeMs @param {number} sampleRate Hz */
export function smoothing(timeMs, sampleRate) {
  return Math.exp(-1000 / (timeMs * sampleRate));
}

/**
 * Change of level in dB, 0 and below.
 *
 * @param {number} levelDb dBFS
 * @param {number} thresholdDb dBFS
 * @param {number} slope 1/ratio − 1
 * @param {number} kneeDb dB
 */
export function reductionDb(levelDb, thresholdDb, slope, kneeDb) {
  const over = levelDb - thresholdDb + kneeDb / 2;
  if (over <= 0) return 0;
  return over < kneeDb ? (slope * over * over) / (2 * kneeDb) : slope * (levelDb - thresholdDb);
}

const TO_DB = 20 / Math.LN10;
const FROM_DB = Math.LN10 / 20;

/**
 * Compress channels in place, linked.
 *
 * @param {Float64Array[]} channels
 * @param {number} from first sample
 * @param {number} to behind the last
 * @param {object} own attack, release (coefficients), threshold, slope, knee, makeup (dB), share
 *   (1 on, 0 off, between: of the change in dB); before: the same at the start, while they glide
 * @param {object} meter level (the detector's state, s), loudest (s), lowest (dB): changed
 */
export function compress(channels, from, to, own, meter) {
  const { attack, release, threshold, slope, knee, makeup, share, before } = own;
  const [first, second] = channels;
  let level = meter.level;
  for (let n = from; n < to; n++) {
    let peak = Math.abs(first[n]);
    if (second) peak = Math.max(peak, Math.abs(second[n]));
    const a = peak > level ? attack : release;
    level = a * level + (1 - a) * peak;
    const levelDb = TO_DB * Math.log(Math.max(level, 1e-6));
    const change = reductionDb(levelDb, threshold, slope, knee);
    if (change < meter.lowest) meter.lowest = change;
    if (level > meter.loudest) meter.loudest = level;
    let gainDb = share * (change + makeup);
    if (before) {
      const old = reductionDb(levelDb, before.threshold, before.slope, before.knee);
      const oldDb = before.share * (old + before.makeup);
      gainDb = oldDb + ((gainDb - oldDb) * (n - from)) / (to - from);
    }
    const gain = Math.exp(FROM_DB * gainDb);
    first[n] *= gain;
    if (second) second[n] *= gain;
  }
  meter.level = level < 1e-200 ? 0 : level;
}
