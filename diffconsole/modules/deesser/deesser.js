/**
 * De-esser: what lies above a split is turned down where it is loud against the whole voice. With p
 * the input through a first-order high-pass and h = p through the same again,
 * `y = x + (r − 1)·(2·p + (r − 1)·h)`, `r = 10^(c/40)`, `c = −min(max(D, 0), range)`.
 */
import { smoothing } from "../compressor/compressor.js";

const TO_DB = 20 / Math.LN10;
const FROM_HALF_DB = Math.LN10 / 40;
const HIGHEST_FREQUENCY = 0.49;
const REFERENCE_MS = [10, 1000];

// Where each value lies among those that glide.
const [FREQ, THRESHOLD, RANGE, ATTACK, RELEASE] = [0, 1, 2, 3, 4];

const followed = (level, peak, attack, release) => {
  const a = peak > level ? attack : release;
  const next = a * level + (1 - a) * peak;
  return next < 1e-200 ? 0 : next;
};

/** The de-esser with its split and its two detectors. */
class Deesser {
  constructor(sampleRate, channels) {
    this.sampleRate = sampleRate;
    this.channels = channels;
    [this.rise, this.fall] = REFERENCE_MS.map((ms) => smoothing(ms, sampleRate));
    this.once = new Float64Array(channels);
    this.twice = new Float64Array(channels);
    this.clear();
  }

  set(now) {
    const freq = Math.min(Math.exp(now[FREQ]), HIGHEST_FREQUENCY * this.sampleRate);
    const tangent = Math.tan((Math.PI * freq) / this.sampleRate);
    this.b0 = 1 / (1 + tangent);
    this.a1 = (tangent - 1) * this.b0;
    this.attack = smoothing(Math.exp(now[ATTACK]), this.sampleRate);
    this.release = smoothing(Math.exp(now[RELEASE]), this.sampleRate);
  }

  clear() {
    this.upper = 0;
    this.whole = 0;
    // Of each channel: the input, the first and the second filter's output before.
    this.states = Array.from({ length: this.channels }, () => new Float64Array(3));
  }

  process(channels, from, to, now, before) {
    const { once, twice, states, b0, a1 } = this;
    // What shapes the gain glides from sample to sample.
    const start = before ?? now;
    const step = 1 / (to - from);
    for (let n = from; n < to; n++) {
      let loudest = 0;
      let hissing = 0;
      for (let c = 0; c < channels.length; c++) {
        const state = states[c];
        const x = channels[c][n];
        const p = b0 * (x - state[0]) - a1 * state[1];
        const h = b0 * (p - state[1]) - a1 * state[2];
        state[0] = x;
        state[1] = Math.abs(p) < 1e-200 ? 0 : p;
        state[2] = Math.abs(h) < 1e-200 ? 0 : h;
        once[c] = p;
        twice[c] = h;
        loudest = Math.max(loudest, Math.abs(x));
        hissing = Math.max(hissing, Math.abs(h));
      }
      this.upper = followed(this.upper, hissing, this.attack, this.release);
      this.whole = followed(this.whole, loudest, this.rise, this.fall);
      const ratioDb = TO_DB * Math.log(Math.max(this.upper, 1e-6) / Math.max(this.whole, 1e-6));
      const along = (n + 1 - from) * step;
      const between = (i) => start[i] + along * (now[i] - start[i]);
      const change = -Math.min(Math.max(ratioDb - between(THRESHOLD), 0), between(RANGE));
      if (change === 0) continue;
      const share = Math.exp(FROM_HALF_DB * change) - 1;
      for (let c = 0; c < channels.length; c++) {
        channels[c][n] += share * (2 * once[c] + share * twice[c]);
      }
    }
  }
}

export const module = {
  values: (own) => [
    Math.log(own.freq_hz),
    own.threshold_db,
    own.range_db,
    Math.log(own.attack_ms),
    Math.log(own.release_ms),
  ],
  make: (sampleRate, channels) => new Deesser(sampleRate, channels),
};
