/**
 * Complex Fourier transforms in float64, in place: lengths 2^k and 3·2^k.
 *
 * `X[k] = Σ x[n]·e^(−2πj·k·n/N)`, as NumPy's; the inverse is not scaled by 1/N.
 */

/** Transform of a power of two: stages of radix 2, two at a time. */
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
    const { length, order } = this;
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
    // Two stages at a time, for as long as there are two: half the way through memory.
    for (; 4 * half <= length; half *= 4) this.twoStages(re, im, half);
    if (half < length) this.oneStage(re, im, half);
  }

  oneStage(re, im, half) {
    const { length, cosines, sines } = this;
    for (let start = 0; start < length; start += 2 * half) {
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

  twoStages(re, im, half) {
    const { length, cosines, sines } = this;
    const twice = 2 * half;
    for (let start = 0; start < length; start += 4 * half) {
      for (let j = 0; j < half; j++) {
        const a = start + j;
        const b = a + half;
        const c = b + half;
        const d = c + half;
        const c1 = cosines[half + j];
        const s1 = sines[half + j];
        const c2 = cosines[twice + j];
        const s2 = sines[twice + j];
        const br = re[b] * c1 - im[b] * s1;
        const bi = re[b] * s1 + im[b] * c1;
        const dr = re[d] * c1 - im[d] * s1;
        const di = re[d] * s1 + im[d] * c1;
        const er = re[c] + dr;
        const ei = im[c] + di;
        const fr = re[c] - dr;
        const fi = im[c] - di;
        const cr = er * c2 - ei * s2;
        const ci = er * s2 + ei * c2;
        // The factor of the last pair is −j times this one.
        const gr = fr * s2 + fi * c2;
        const gi = -(fr * c2 - fi * s2);
        const ar = re[a] + br;
        const ai = im[a] + bi;
        const hr = re[a] - br;
        const hi = im[a] - bi;
        re[a] = ar + cr;
        im[a] = ai + ci;
        re[c] = ar - cr;
        im[c] = ai - ci;
        re[b] = hr + gr;
        im[b] = hi + gi;
        re[d] = hr - gr;
        im[d] = hi - gi;
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
