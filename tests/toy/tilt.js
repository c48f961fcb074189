/** The tilt of `tilt.py` beside this file: one pole, `y = b0·x + b1·x⁻¹ − a1·y⁻¹`. */

const LOWEST_HZ = 20;
const HIGHEST_HZ = 20000;
const POINTS = 200;

class Tilt {
  constructor(sampleRate, channels) {
    this.sampleRate = sampleRate;
    this.states = new Float64Array(channels);
  }

  set([logFreq, gainDb]) {
    const r = 10 ** (gainDb / 40);
    const k = Math.tan((Math.PI * Math.exp(logFreq)) / this.sampleRate);
    const whole = 1 + r * k;
    Object.assign(this, { b0: (r + k) / whole, b1: (k - r) / whole, a1: (r * k - 1) / whole });
  }

  clear() {
    this.states.fill(0);
  }

  process(channels, from, to) {
    const { b0, b1, a1, states } = this;
    channels.forEach((signal, c) => {
      let state = states[c];
      for (let n = from; n < to; n++) {
        const x = signal[n];
        signal[n] = b0 * x + state;
        state = b1 * x - a1 * signal[n];
      }
      states[c] = Math.abs(state) < 1e-200 ? 0 : state;
    });
  }
}

function curve(sampleRate, { freq_hz, gain_db }) {
  const top = Math.min(HIGHEST_HZ, 0.499 * sampleRate);
  const x = Array.from({ length: POINTS }, (_, i) => LOWEST_HZ * (top / LOWEST_HZ) ** (i / (POINTS - 1)));
  const r = 10 ** (gain_db / 40);
  const pivot = Math.tan((Math.PI * freq_hz) / sampleRate);
  const gain = (f) => {
    const s = Math.tan((Math.PI * f) / sampleRate) / pivot;
    return 10 * Math.log10((r * r * s * s + 1) / (s * s + r * r));
  };
  return { xLabel: "Hz", yLabel: "dB", x, lines: { tilt: x.map(gain) }, isLog: true };
}

export const module = {
  values: ({ freq_hz, gain_db }) => [Math.log(freq_hz), gain_db],
  make: (sampleRate, channels) => new Tilt(sampleRate, channels),
  curve,
};
