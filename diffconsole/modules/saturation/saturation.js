/**
 * Saturation: `g(u) = (1 − mix)·u + mix·c·T/(s·(1 + t·T))`, `T = tanh(s·u)`, at eight places between
 * samples: allpass filters shift by eighths of a sample, others shift back, and in the mean the
 * harmonics above half the sample rate cancel.
 */
const ALLPASS = [
  [0.004816232, 0.177794998, 0.519870508, 0.78700935, 0.934107999],
  [0.01231005, 0.215901653, 0.561276172, 0.810078197, 0.948966548],
  [0.022420798, 0.257728884, 0.599709517, 0.832435139, 0.961208224],
  [0.036336796, 0.301433753, 0.636018747, 0.853291171, 0.97141754],
  [0.054701157, 0.346120042, 0.670311639, 0.872448297, 0.979930435],
  [0.078086981, 0.391017629, 0.70251704, 0.889980324, 0.986934982],
  [0.107130448, 0.435186591, 0.732683363, 0.906014214, 0.992551931],
  [0.14255649, 0.477413478, 0.761166448, 0.92044079, 0.997012843],
];
const PLACES = ALLPASS.length;
const SECTIONS = ALLPASS[0].length;
const BLOCKED_HZ = 5;
const NYQUIST_POLE = 0.96;
const KEPT = 10 ** (-18 / 20);
const NODES = 8;
const TINY = 1e-200;
// Below this f is the identity within the last digits, and a division by 0 is none.
const LEAST = 1e-9;

// Where each value lies among those that glide.
const [DRIVE, BIAS, MIX] = [0, 1, 2];

const steepnessOf = (driveDb) => Math.max(Math.expm1((driveDb * Math.LN10) / 20), LEAST);

const bent = (u, steepness, bias) => {
  const tangent = Math.tanh(steepness * u);
  return tangent / (steepness * (1 + bias * tangent));
};

/** The gain that keeps the level of a sine of −18 dBFS. */
const compensation = (steepness, bias) => {
  let [sum, squares] = [0, 0];
  for (let j = 1; j < 2 * NODES; j += 2) {
    const value = bent(Math.SQRT2 * KEPT * Math.cos((Math.PI * j) / (2 * NODES)), steepness, bias);
    sum += value / NODES;
    squares += (value * value) / NODES;
  }
  return KEPT / Math.sqrt(squares - sum * sum);
};

/** Run a sample through a place's filter, whose state holds its input and every section's output. */
const shifted = (x, coefficients, state, from) => {
  let value = x;
  for (let i = 0; i < SECTIONS; i++) {
    const place = from + i;
    const next = coefficients[i] * (value - state[place + 1]) + state[place];
    state[place] = Math.abs(value) < TINY ? 0 : value;
    value = next;
  }
  state[from + SECTIONS] = Math.abs(value) < TINY ? 0 : value;
  return value;
};

/** The saturation with its filters, a set for each channel. */
class Saturation {
  constructor(sampleRate, channels) {
    this.channels = channels;
    const tangent = Math.tan((Math.PI * BLOCKED_HZ) / sampleRate);
    const pole = (1 - tangent) / (1 + tangent);
    this.gain = (0.5 * (1 + NYQUIST_POLE)) / (1 + tangent);
    this.a1 = NYQUIST_POLE - pole;
    this.a2 = -pole * NYQUIST_POLE;
    this.clear();
  }

  set(now) {
    this.steepness = steepnessOf(now[DRIVE]);
    this.bias = now[BIAS];
    const share = now[MIX] / 100;
    this.dry = 1 - share;
    this.wet = share * compensation(this.steepness, this.bias);
  }

  clear() {
    this.states = Array.from({ length: this.channels }, () => ({
      forth: new Float64Array(PLACES * (SECTIONS + 1)),
      back: new Float64Array(PLACES * (SECTIONS + 1)),
      last: new Float64Array(4),
    }));
    this.shape = null;
  }

  process(channels, from, to, now, before) {
    // What shapes the curve glides from sample to sample.
    const ends = [this.steepness, this.bias, this.dry, this.wet];
    const start = before && this.shape ? this.shape : ends;
    const step = 1 / (to - from);
    for (let c = 0; c < channels.length; c++) {
      const signal = channels[c];
      const { forth, back, last } = this.states[c];
      for (let n = from; n < to; n++) {
        const along = (n + 1 - from) * step;
        const between = (i) => start[i] + along * (ends[i] - start[i]);
        const [steepness, bias, dry, wet] = [between(0), between(1), between(2), between(3)];
        let total = 0;
        for (let k = 0; k < PLACES; k++) {
          const u = shifted(signal[n], ALLPASS[k], forth, k * (SECTIONS + 1));
          const shaped = dry * u + wet * bent(u, steepness, bias);
          total += shifted(shaped, ALLPASS[PLACES - 1 - k], back, k * (SECTIONS + 1));
        }
        const mean = total / PLACES;
        const y = this.gain * (mean - last[1]) - this.a1 * last[2] - this.a2 * last[3];
        last[1] = last[0];
        last[0] = mean;
        last[3] = last[2];
        last[2] = Math.abs(y) < TINY ? 0 : y;
        signal[n] = y;
      }
    }
    this.shape = ends;
  }
}

export const module = {
  values: (own) => [own.drive_db, own.bias, own.mix],
  make: (sampleRate, channels) => new Saturation(sampleRate, channels),
  isIdle: (own) => own.drive_db === 0 || own.mix === 0,
};
