/**
 * Partitioned FFT convolution of one signal with a stereo response, without latency.
 *
 * Overlap-save: a level of block B holds the response in pieces of B taps as spectra of 2B points,
 * `Y = Σ_p X[−p]·H[p]`. The first level starts at tap 0; each further one at tap 2B, so that it has
 * a whole block of time for its work, which is spread over the calls: none takes long.
 */
import { Fourier } from "../../audition/fft.js";

/** Blocks for a worklet, whose calls are 128 samples. */
export const LIVE_BLOCKS = [128, 1024, 8192];

/** A single block that is fast for a long signal. @param {number} taps */
export function offlineBlock(taps) {
  let block = 4096;
  while (block < 32768 && block * 8 < taps) block *= 2;
  return block;
}

/**
 * Cut a response into spectra.
 *
 * @param {{left: Float64Array, right: Float64Array}} response
 * @param {number[]} blocks rising, each a multiple of the one before
 * @returns {object[]} levels: block, count, and re/im of both sides, B + 1 bins a piece
 */
export function partition({ left, right }, blocks) {
  const taps = left.length;
  const levels = [];
  blocks.forEach((block, i) => {
    const start = i === 0 ? 0 : 2 * block;
    const stop = i + 1 < blocks.length ? Math.min(2 * blocks[i + 1], taps) : taps;
    const count = Math.ceil((stop - start) / block);
    if (count <= 0) return;
    const bins = block + 1;
    const names = ["leftRe", "leftIm", "rightRe", "rightIm"];
    const level = { block, count };
    for (const name of names) level[name] = new Float64Array(count * bins);
    const fourier = new Fourier(2 * block);
    const re = new Float64Array(2 * block);
    const im = new Float64Array(2 * block);
    for (let p = 0; p < count; p++) {
      re.fill(0);
      im.fill(0);
      const from = start + p * block;
      const to = Math.min(from + block, stop);
      re.set(left.subarray(from, to));
      im.set(right.subarray(from, to));
      fourier.forward(re, im);
      for (let k = 0; k < bins; k++) {
        const mirror = (2 * block - k) % (2 * block);
        level.leftRe[p * bins + k] = (re[k] + re[mirror]) / 2;
        level.leftIm[p * bins + k] = (im[k] - im[mirror]) / 2;
        level.rightRe[p * bins + k] = (im[k] + im[mirror]) / 2;
        level.rightIm[p * bins + k] = (re[mirror] - re[k]) / 2;
      }
    }
    levels.push(level);
  });
  return levels;
}

/** One level: a delay line of spectra, and the sum of its products with the pieces. */
class Level {
  constructor(pieces, callSamples, immediate) {
    Object.assign(this, pieces);
    const { block, count } = pieces;
    this.immediate = immediate;
    this.bins = block + 1;
    this.fourier = new Fourier(2 * block);
    this.input = new Float64Array(2 * block);
    this.pastRe = new Float64Array(count * this.bins);
    this.pastIm = new Float64Array(count * this.bins);
    this.sums = Array.from({ length: 4 }, () => new Float64Array(this.bins));
    this.re = new Float64Array(2 * block);
    this.im = new Float64Array(2 * block);
    this.outLeft = new Float64Array(block);
    this.outRight = new Float64Array(block);
    this.newest = 0;
    this.filled = 0;
    this.calls = block / callSamples;
    this.call = 0;
    this.summed = 0;
    this.working = false;
  }

  /** Take a call's input and add its output. */
  process(send, left, right, samples) {
    const { block } = this;
    if (this.immediate) {
      this.input.set(send.subarray(0, samples), block);
      this.transformInput();
      this.sum(this.count);
      this.transformOutput();
    }
    const at = this.immediate ? 0 : this.filled;
    for (let n = 0; n < samples; n++) {
      left[n] += this.outLeft[at + n];
      right[n] += this.outRight[at + n];
    }
    if (this.immediate) return;
    if (this.working) this.workOn();
    this.input.set(send.subarray(0, samples), block + this.filled);
    this.filled += samples;
    if (this.filled < block) return;
    if (this.working) this.transformOutput();
    this.filled = 0;
    this.call = 0;
    this.summed = 0;
    this.working = true;
    // The newest block moves to the first half when it is transformed, in the next call.
    this.pending = this.pending ?? new Float64Array(2 * block);
    this.pending.set(this.input);
    this.input.copyWithin(0, block);
  }

  /** A call's share of the block's work. */
  workOn() {
    if (this.call === 0) this.transformInput(this.pending);
    else this.sum(Math.ceil((this.count * this.call) / Math.max(this.calls - 2, 1)));
    this.call += 1;
  }

  transformInput(source = this.input) {
    const { re, im, bins, block } = this;
    re.set(source);
    im.fill(0);
    this.fourier.forward(re, im);
    this.newest = (this.newest + this.count - 1) % this.count;
    this.pastRe.set(re.subarray(0, bins), this.newest * bins);
    this.pastIm.set(im.subarray(0, bins), this.newest * bins);
    if (source === this.input) source.copyWithin(0, block);
    for (const sum of this.sums) sum.fill(0);
    this.summed = 0;
  }

  /** Add the products with the pieces up to one. @param {number} upTo */
  sum(upTo) {
    const { bins, count, pastRe, pastIm, leftRe, leftIm, rightRe, rightIm } = this;
    const [lr, li, rr, ri] = this.sums;
    for (; this.summed < Math.min(upTo, count); this.summed++) {
      const h = this.summed * bins;
      const x = ((this.newest + this.summed) % count) * bins;
      for (let k = 0; k < bins; k++) {
        const xr = pastRe[x + k];
        const xi = pastIm[x + k];
        const ar = leftRe[h + k];
        const ai = leftIm[h + k];
        const br = rightRe[h + k];
        const bi = rightIm[h + k];
        lr[k] += xr * ar - xi * ai;
        li[k] += xr * ai + xi * ar;
        rr[k] += xr * br - xi * bi;
        ri[k] += xr * bi + xi * br;
      }
    }
  }

  transformOutput() {
    this.sum(this.count);
    const { re, im, bins, block } = this;
    const [lr, li, rr, ri] = this.sums;
    const scale = 1 / (2 * block);
    for (let k = 0; k < bins; k++) {
      const mirror = (2 * block - k) % (2 * block);
      re[mirror] = (lr[k] + ri[k]) * scale;
      im[mirror] = (rr[k] - li[k]) * scale;
      re[k] = (lr[k] - ri[k]) * scale;
      im[k] = (li[k] + rr[k]) * scale;
    }
    this.fourier.inverse(re, im);
    this.outLeft.set(re.subarray(block));
    this.outRight.set(im.subarray(block));
  }
}

/** A response that runs. Every call must have the samples of the smallest block. */
export class Convolver {
  /** @param {object[]} levels of {@link partition} */
  constructor(levels) {
    this.block = levels[0].block;
    this.levels = levels.map((level, i) => new Level(level, this.block, i === 0));
    const last = levels[levels.length - 1];
    this.taps = (last.count + (levels.length > 1 ? 2 : 0)) * last.block + this.block;
  }

  /** Add the response to a block of input. Arrays of `block` samples. */
  process(send, left, right) {
    for (const level of this.levels) level.process(send, left, right, this.block);
  }
}
