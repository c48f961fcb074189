/**
 * Equalizer: second-order sections of R. Bristow-Johnson's Audio EQ Cookbook, shelves with Q,
 * `H(z) = (b0 + b1·z⁻¹ + b2·z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²)`.
 */

export const EQ_BANDS = [
  "high_pass", "low_shelf", "peak_1", "peak_2", "peak_3", "peak_4", "high_shelf", "low_pass",
];
const HIGHEST_FREQUENCY = 0.49;

/**
 * Coefficients b0, b1, b2, a1, a2 of a band.
 *
 * @param {string} band one of {@link EQ_BANDS}
 * @param {number} sampleRate Hz
 * @param {number} freqHz clamped at 0.49·fs
 * @param {number} gainDb of no effect on the cuts
 * @param {number} q
 * @param {Float64Array} [target]
 */
export function coefficients(band, sampleRate, freqHz, gainDb, q, target = new Float64Array(5)) {
  const omega = (2 * Math.PI * Math.min(freqHz, HIGHEST_FREQUENCY * sampleRate)) / sampleRate;
  const cosine = Math.cos(omega);
  const alpha = Math.sin(omega) / (2 * q);
  const amplitude = 10 ** (gainDb / 40);
  const slope = 2 * Math.sqrt(amplitude) * alpha;
  const up = amplitude + 1;
  const down = amplitude - 1;
  let b0, b1, b2, a0, a1, a2;
  if (band === "high_pass" || band === "low_pass") {
    const sign = band === "low_pass" ? -1 : 1;
    // 1 − cos as 2·sin²: nothing cancels at low frequencies.
    const whole = band === "low_pass" ? 2 * Math.sin(omega / 2) ** 2 : 1 + cosine;
    b0 = whole / 2;
    b1 = -sign * whole;
    b2 = b0;
    a0 = 1 + alpha;
    a1 = -2 * cosine;
    a2 = 1 - alpha;
  } else if (band === "low_shelf" || band === "high_shelf") {
    const turn = band === "low_shelf" ? 1 : -1;
    b0 = amplitude * (up - turn * down * cosine + slope);
    b1 = turn * 2 * amplitude * (down - turn * up * cosine);
    b2 = amplitude * (up - turn * down * cosine - slope);
    a0 = up + turn * down * cosine + slope;
    a1 = -turn * 2 * (down + turn * up * cosine);
    a2 = up + turn * down * cosine - slope;
  } else {
    b0 = 1 + alpha * amplitude;
    b1 = -2 * cosine;
    b2 = 1 - alpha * amplitude;
    a0 = 1 + alpha / amplitude;
    a1 = -2 * cosine;
    a2 = 1 - alpha / amplitude;
  }
  target[0] = b0 / a0;
  target[1] = b1 / a0;
  target[2] = b2 / a0;
  target[3] = a1 / a0;
  target[4] = a2 / a0;
  return target;
}

/**
 * Gain of a section in dB at a frequency.
 *
 * |b0 + b1·z⁻¹ + b2·z⁻²|² in `φ = sin²(ω/2)`, the cookbook's form, which holds at low frequencies.
 */
export function gainDb([b0, b1, b2, a1, a2], sampleRate, freqHz) {
  const phi = Math.sin((Math.PI * freqHz) / sampleRate) ** 2;
  const power = (x0, x1, x2) =>
    (x0 + x1 + x2) ** 2 - 4 * (x0 * x1 + 4 * x0 * x2 + x1 * x2) * phi + 16 * x0 * x2 * phi * phi;
  return 10 * Math.log10(Math.max(power(b0, b1, b2), 1e-18) / power(1, a1, a2));
}

/**
 * Run a section in place, transposed direct form II.
 *
 * @param {Float64Array} signal
 * @param {number} from first sample
 * @param {number} to behind the last
 * @param {Float64Array} c coefficients
 * @param {Float64Array} state two values, changed
 * @param {number} share 1 the section's output, 0 the input, between a mix (a band fading in)
 * @param {number} [shareBefore] at the first sample; from there in a straight line
 */
export function runSection(signal, from, to, c, state, share, shareBefore = share) {
  const [b0, b1, b2, a1, a2] = c;
  let [s1, s2] = state;
  const whole = share === 1 && shareBefore === 1;
  const slope = (share - shareBefore) / (to - from);
  for (let n = from; n < to; n++) {
    const x = signal[n];
    const y = b0 * x + s1;
    s1 = b1 * x - a1 * y + s2;
    s2 = b2 * x - a2 * y;
    signal[n] = whole ? y : x + (shareBefore + slope * (n - from)) * (y - x);
  }
  // What rings below any audible level would become denormal and slow.
  state[0] = Math.abs(s1) < 1e-200 ? 0 : s1;
  state[1] = Math.abs(s2) < 1e-200 ? 0 : s2;
}

const PER_BAND = 4;

/** The bands one after the other; one that is off is faded out by itself. */
class Equalizer {
  constructor(sampleRate, channels) {
    this.sampleRate = sampleRate;
    this.sections = EQ_BANDS.map(() => new Float64Array(5));
    this.states = EQ_BANDS.map(() => Array.from({ length: channels }, () => new Float64Array(2)));
  }

  set(now) {
    EQ_BANDS.forEach((band, i) => {
      const at = PER_BAND * i;
      const [freq, q] = [Math.exp(now[at]), Math.exp(now[at + 2])];
      coefficients(band, this.sampleRate, freq, now[at + 1], q, this.sections[i]);
    });
  }

  clear() {
    for (const band of this.states) for (const state of band) state.fill(0);
  }

  process(channels, from, to, now, before) {
    for (let i = 0; i < EQ_BANDS.length; i++) {
      const share = now[PER_BAND * i + 3];
      const old = before ? before[PER_BAND * i + 3] : share;
      for (let c = 0; c < channels.length; c++) {
        const state = this.states[i][c];
        if (share > 0 || old > 0) runSection(channels[c], from, to, this.sections[i], state, share, old);
        else state.fill(0);
      }
    }
  }
}

export const module = {
  fades: true,
  values: (settings, isOn) =>
    EQ_BANDS.flatMap((band) => [
      Math.log(settings[`${band}.freq_hz`]),
      settings[`${band}.gain_db`] ?? 0,
      Math.log(settings[`${band}.q`]),
      isOn(band) ? 1 : 0,
    ]),
  isIdle: (_, isOn) => !EQ_BANDS.some(isOn),
  make: (sampleRate, channels) => new Equalizer(sampleRate, channels),
};
