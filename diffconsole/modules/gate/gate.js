/**
 * Gate: a downward expander. The detector is the compressor's with a hold: while at least a whole
 * sample of it is left the level stays, in the sample in which its last fraction f ends it falls with
 * `r^(1 − f)`. `c = −min(range, (R − 1)·max(T − L, 0))`.
 */
import { smoothing } from "../compressor/compressor.js";

const TO_DB = 20 / Math.LN10;
const FROM_DB = Math.LN10 / 20;

// Where each value lies among those that glide.
const [THRESHOLD, RATIO, RANGE, ATTACK, HOLD, RELEASE] = [0, 1, 2, 3, 4, 5];

/** The gate with its detector. */
class Gate {
  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.clear();
  }

  set(now) {
    this.attack = smoothing(Math.exp(now[ATTACK]), this.sampleRate);
    this.release = smoothing(Math.exp(now[RELEASE]), this.sampleRate);
    this.hold = (now[HOLD] * this.sampleRate) / 1000;
    this.ending = this.release ** (1 - (this.hold - Math.floor(this.hold)));
  }

  clear() {
    this.level = 0;
    this.left = 0;
  }

  process(channels, from, to, now, before) {
    const { attack, release, hold, ending } = this;
    const [first, second] = channels;
    // What shapes the gain glides from sample to sample.
    const start = before ?? now;
    const step = 1 / (to - from);
    let { level, left } = this;
    for (let n = from; n < to; n++) {
      let peak = Math.abs(first[n]);
      if (second) peak = Math.max(peak, Math.abs(second[n]));
      if (peak > level) {
        level = attack * level + (1 - attack) * peak;
        left = hold;
      } else if (left >= 1) {
        left -= 1;
      } else {
        const k = left > 0 ? ending : release;
        left = 0;
        level = k * level + (1 - k) * peak;
        if (level < 1e-200) level = 0;
      }
      const share = (n + 1 - from) * step;
      const between = (i) => start[i] + share * (now[i] - start[i]);
      const under = Math.max(between(THRESHOLD) - TO_DB * Math.log(Math.max(level, 1e-6)), 0);
      const gain = Math.exp(-FROM_DB * Math.min((between(RATIO) - 1) * under, between(RANGE)));
      first[n] *= gain;
      if (second) second[n] *= gain;
    }
    this.level = level;
    this.left = left;
  }
}

export const module = {
  values: (own) => [
    own.threshold_db,
    own.ratio,
    own.range_db,
    Math.log(own.attack_ms),
    own.hold_ms,
    Math.log(own.release_ms),
  ],
  make: (sampleRate) => new Gate(sampleRate),
};
