/**
 * Compressor: `v = max|x|` over the channels, the branching one-pole
 * `s = a·s + (1 − a)·v`, a = a_attack if v > s else a_release, `a = exp(−1/(τ·fs))`, then
 * `L = 20·log10(max(s, 1e−6))` and the static curve with soft knee. With a mix m below 1 the dry
 * signal is added: the gain is `(1 − m) + m·10^((c + makeup)/20)`.
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

/**
 * How far the whole is turned down in dB, the dry part included, of the change of what is compressed.
 *
 * @param {number} changeDb 0 and below
 * @param {object} own makeup (dB), mix (0…1)
 */
export function mixedDb(changeDb, { makeup, mix }) {
  if (mix === 1) return changeDb;
  const gain = (db) => 1 - mix + mix * Math.exp(FROM_DB * (db + makeup));
  return TO_DB * Math.log(gain(changeDb) / gain(0));
}

const TO_DB = 20 / Math.LN10;
const FROM_DB = Math.LN10 / 20;

/**
 * Compress channels in place, linked.
 *
 * @param {Float64Array[]} channels
 * @param {number} from first sample
 * @param {number} to behind the last
 * @param {object} own attack, release (coefficients), threshold, slope, knee, makeup (dB), mix (0…1),
 *   share (1 on, 0 off, between: of the change in dB); before: the same at the start, while they glide
 * @param {object} meter level (the detector's state, s), loudest (s), lowest (dB): changed
 */
export function compress(channels, from, to, own, meter) {
  const { attack, release, threshold, slope, knee, makeup, mix, share, before } = own;
  const [first, second] = channels;
  let level = meter.level;
  let lowest = 0;
  for (let n = from; n < to; n++) {
    let peak = Math.abs(first[n]);
    if (second) peak = Math.max(peak, Math.abs(second[n]));
    const a = peak > level ? attack : release;
    level = a * level + (1 - a) * peak;
    const levelDb = TO_DB * Math.log(Math.max(level, 1e-6));
    const change = reductionDb(levelDb, threshold, slope, knee);
    if (change < lowest) lowest = change;
    if (level > meter.loudest) meter.loudest = level;
    let gainDb = share * (change + makeup);
    let wet = mix;
    if (before) {
      const old = reductionDb(levelDb, before.threshold, before.slope, before.knee);
      const oldDb = before.share * (old + before.makeup);
      gainDb = oldDb + ((gainDb - oldDb) * (n - from)) / (to - from);
      wet = before.mix + ((mix - before.mix) * (n - from)) / (to - from);
    }
    const gain = 1 - wet + wet * Math.exp(FROM_DB * gainDb);
    first[n] *= gain;
    if (second) second[n] *= gain;
  }
  meter.level = level < 1e-200 ? 0 : level;
  meter.lowest = Math.min(meter.lowest, mixedDb(lowest, own));
}

// Where each value lies among those that glide.
const [THRESHOLD, SLOPE, ATTACK, RELEASE, KNEE, MAKEUP, MIX, SHARE] = [0, 1, 2, 3, 4, 5, 6, 7];

/** The compressor with its detector; the meter holds its state. */
class Compressor {
  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.meter = { level: 0, loudest: 0, lowest: 0 };
  }

  set(now) {
    this.own = {
      ...curveOf(now),
      attack: smoothing(Math.exp(now[ATTACK]), this.sampleRate),
      release: smoothing(Math.exp(now[RELEASE]), this.sampleRate),
    };
  }

  clear() {
    this.meter.level = 0;
  }

  process(channels, from, to, now, before) {
    if (!(now[SHARE] > 0 || before?.[SHARE] > 0)) return;
    this.own.before = before ? curveOf(before) : null;
    compress(channels, from, to, this.own, this.meter);
  }
}

function curveOf(values) {
  return {
    threshold: values[THRESHOLD],
    slope: values[SLOPE],
    knee: values[KNEE],
    makeup: values[MAKEUP],
    mix: values[MIX],
    share: values[SHARE],
  };
}

/** By how much the level rises at most, where it came in changed by `db`. */
function levelChangeDb(db, before, after) {
  // Of a mix, what the dry and the compressed signal are together where nothing is turned down.
  const gainOf = ({ makeup_db: db, mix }) =>
    mix === 100 ? db : TO_DB * Math.log(1 - mix / 100 + (mix / 100) * Math.exp(FROM_DB * db));
  const makeup = ({ settings, isOn }) => (isOn() ? gainOf(settings) : 0);
  const threshold = ({ settings, isOn }) => (isOn() ? settings.threshold_db : 0);
  let change = makeup(after) - makeup(before) + db;
  if (db < 0 && after.isOn()) {
    const over = db - (threshold(after) - threshold(before));
    change += Math.max(0, (1 / after.settings.ratio - 1) * over);
  }
  return change;
}

export const module = {
  fades: true,
  values: (settings, isOn) => [
    settings.threshold_db,
    1 / settings.ratio - 1,
    Math.log(settings.attack_ms),
    Math.log(settings.release_ms),
    settings.knee_db,
    settings.makeup_db,
    settings.mix / 100,
    isOn() ? 1 : 0,
  ],
  isIdle: (settings) => settings.mix === 0,
  make: (sampleRate) => new Compressor(sampleRate),
  hasMeter: true,
  levelChangeDb,
};
