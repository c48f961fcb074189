/**
 * Complex Fourier transforms in float64, in place: lengths 2^k and 3·2^k.
 *
 * `X[k] = Σ x[n]·e^(−2πj·k·n/N)`, as NumPy's; the inverse is not scaled by 1/N.
 */

/** Transform of a power of two: radix 2, the first two stages as one. */
class PowerOfTwo {
  constructor(length) {
    this.length = length;
    const bits = Math.round(Math.log2(length));
    this.order = new Uint32Array(length);
    for (let i = 1; i < length; i++) {
      this.order[i] = (this.order[i >> 1] >> 1) | ((i & 1) << (bits - 1));
    }
    // The factors of the stage with butterflies `half` apart lie side by side, from `half` on.
    this.cosines = new Float64Array(length);
    this.sines = new Float64Array(length);
    for (let half = 1; half < length; half *= 2) {
      for (let j = 0; j < half; j++) {
        this.cosines[half + j] = Math.cos((Math.PI * j) / half);
        this.sines[half + j] = -Math.sin((Math.PI * j) / half);
      }
    }
  }

  forward(re, im) {
    const { length, order, cosines, sines } = this;
    for (let i = 0; i < length; i++) {
      const j = order[i];
      if (j > i) {
        const r = re[i];
        const m = im[i];
        re[i] = re[j];
        im[i] = im[j];
        re[j] = r;
        im[j] = m;
      }
    }
    let half = 1;
    if (length >= 4) {
      for (let i = 0; i < length; i += 4) {
        const ar = re[i] + re[i + 1];
        const ai = im[i] + im[i + 1];
        const br = re[i] - re[i + 1];
        const bi = im[i] - im[i + 1];
        const cr = re[i + 2] + re[i + 3];
        const ci = im[i + 2] + im[i + 3];
        const dr = re[i + 2] - re[i + 3];
        const di = im[i + 2] - im[i + 3];
        re[i] = ar + cr;
        im[i] = ai + ci;
        re[i + 2] = ar - cr;
        im[i + 2] = ai - ci;
        re[i + 1] = br + di;
        im[i + 1] = bi - dr;
        re[i + 3] = br - di;
        im[i + 3] = bi + dr;
      }
      half = 4;
    }
    for (; half < length; half *= 2) {
      const step = 2 * half;
      for (let start = 0; start < length; start += step) {
        for (let j = 0, a = start, b = start + half; j < half; j++, a++, b++) {
          const c = cosines[half + j];
          const s = sines[half + j];
          const r = re[b] * c - im[b] * s;
          const m = re[b] * s + im[b] * c;
          re[b] = re[a] - r;
          im[b] = im[a] - m;
          re[a] += r;
          im[a] += m;
        }
      }
    }
  }
}

/** Transform of three times a power of two: three of a third, combined. */
class ThreeTimes {
  constructor(length) {
    this.length = length;
    this.third = length / 3;
    this.inner = new PowerOfTwo(this.third);
    this.parts = Array.from({ length: 6 }, () => new Float64Array(this.third));
  }

  forward(re, im) {
    const { length, third, parts } = this;
    for (let n = 0; n < third; n++) {
      for (let p = 0; p < 3; p++) {
        parts[2 * p][n] = re[3 * n + p];
        parts[2 * p + 1][n] = im[3 * n + p];
      }
    }
    for (let p = 0; p < 3; p++) this.inner.forward(parts[2 * p], parts[2 * p + 1]);
    const [ar, ai, br, bi, cr, ci] = parts;
    const root = Math.sqrt(3) / 2;
    for (let k = 0; k < third; k++) {
      const angle = (-2 * Math.PI * k) / length;
      const c1 = Math.cos(angle);
      const s1 = Math.sin(angle);
      const c2 = c1 * c1 - s1 * s1;
      const s2 = 2 * c1 * s1;
      const xr = br[k] * c1 - bi[k] * s1;
      const xi = br[k] * s1 + bi[k] * c1;
      const yr = cr[k] * c2 - ci[k] * s2;
      const yi = cr[k] * s2 + ci[k] * c2;
      const sumR = xr + yr;
      const sumI = xi + yi;
      // −j·(√3/2)·(x − y)
      const turnR = root * (xi - yi);
      const turnI = -root * (xr - yr);
      re[k] = ar[k] + sumR;
      im[k] = ai[k] + sumI;
      re[k + third] = ar[k] - sumR / 2 + turnR;
      im[k + third] = ai[k] - sumI / 2 + turnI;
      re[k + 2 * third] = ar[k] - sumR / 2 - turnR;
      im[k + 2 * third] = ai[k] - sumI / 2 - turnI;
    }
  }
}

/** A transform of one length, with its tables. */
export class Fourier {
  /** @param {number} length 2^k or 3·2^k */
  constructor(length) {
    this.length = length;
    this.plan = Number.isInteger(Math.log2(length)) ? new PowerOfTwo(length) : new ThreeTimes(length);
  }

  /** Transform in place. @param {Float64Array} re @param {Float64Array} im */
  forward(re, im) {
    this.plan.forward(re, im);
  }

  /** Inverse in place, times N. @param {Float64Array} re @param {Float64Array} im */
  inverse(re, im) {
    this.plan.forward(im, re);
  }
}

/** The next 2^k or 3·2^k: `fast_length` of the Python console. @param {number} samples */
export function fastLength(samples) {
  let power = 2;
  while (power < samples) power *= 2;
  return (power * 3) / 4 >= samples ? (power * 3) / 4 : power;
}
