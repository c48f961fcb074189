/**
 * The reverb's impulse response, as `diffconsole/modules/reverb/process.py` makes it:
 * `Σ_bands n_band(t)·10^(−3·t/T60_band)` of middle and side, left and right `M ± width·S` scaled
 * to a mean power of 1 from 20 Hz to min(20 kHz, fs/2), then the cuts and the fractional pre-delay.
 */
import { Fourier, fastLength } from "../../audition/fft.js";
import { LIVE_BLOCKS, offlineBlock, partition } from "./convolver.js";
import { BAND_CENTRES_HZ, bandNoise } from "./noise.js";
import { Rooms } from "./rooms.js";

const CUT_Q = 0.71;
const CUT_RINGING_SECONDS = 0.1;
const CUT_SILENT_SECONDS = 0.21;
const DELAY_RINGING = 256;
const HIGHEST_FREQUENCY = 0.49;

/** T60 of each octave band in s. @param {object} room decay_s, low_ratio, high_ratio */
export function bandDecays({ decay_s, low_ratio, high_ratio }) {
  return BAND_CENTRES_HZ.map((centre) => {
    const octave = Math.log2(centre / 1000);
    const low = Math.min(Math.max(-octave / 2, 0), 1);
    const high = Math.min(Math.max(octave / 3, 0), 1);
    return decay_s * low_ratio ** low * high_ratio ** high;
  });
}

/** Samples until the longest band has fallen by 60 dB, pre-delay included. */
export function tailSamples(sampleRate, room) {
  const longest = room.decay_s * Math.max(1, room.low_ratio, room.high_ratio);
  return Math.ceil((room.pre_delay_ms / 1000 + longest + CUT_RINGING_SECONDS) * sampleRate);
}

/** Fill re and im with middle and side, each band with its decay. */
function decayingNoise(sampleRate, samples, t60, re, im) {
  let band = 0;
  for (const [middle, side] of bandNoise(sampleRate, samples, 0)) {
    const fall = Math.exp((-3 * Math.LN10) / (sampleRate * t60[band++]));
    for (let n = 0, gain = 1; n < samples && gain > 1e-30; n++, gain *= fall) {
      re[n] += middle[n] * gain;
      im[n] += side[n] * gain;
    }
  }
}

/** Means of |M|², |S|² and Re(M·conj(S)) over the counted bins. */
function bandPowers(re, im, length, first, last, step) {
  let middle = 0;
  let side = 0;
  let both = 0;
  let bins = 0;
  for (let k = first; k <= last; k += step, bins++) {
    const mirror = (length - k) % length;
    const mr = (re[k] + re[mirror]) / 2;
    const mi = (im[k] - im[mirror]) / 2;
    const sr = (im[k] + im[mirror]) / 2;
    const si = (re[mirror] - re[k]) / 2;
    middle += mr * mr + mi * mi;
    side += sr * sr + si * si;
    both += mr * sr + mi * si;
  }
  return [middle / bins, side / bins, both / bins];
}

/**
 * Impulse response of both sides at wet level 0 dB.
 *
 * @param {number} sampleRate Hz
 * @param {object} room the reverb's settings by name, in the table's units
 * @returns {{left: Float64Array, right: Float64Array}}
 */
export function impulseResponse(sampleRate, room) {
  const t60 = bandDecays(room);
  const preDelay = (room.pre_delay_ms * sampleRate) / 1000;
  const decaySamples = Math.ceil(Math.max(...t60) * sampleRate);
  const mostDelay = Math.ceil(preDelay);
  const silent = Math.ceil(CUT_SILENT_SECONDS * sampleRate);
  const counted = fastLength(2 * decaySamples);
  let step = 1;
  while (counted * step < decaySamples + silent + mostDelay + DELAY_RINGING) step *= 2;
  const length = counted * step;
  const fourier = new Fourier(length);
  const re = new Float64Array(length);
  const im = new Float64Array(length);
  decayingNoise(sampleRate, decaySamples, t60, re, im);
  fourier.forward(re, im);

  const first = Math.ceil((20 * counted) / sampleRate) * step;
  const last = Math.floor((Math.min(20000, sampleRate / 2) * counted) / sampleRate) * step;
  const [middle, side, both] = bandPowers(re, im, length, first, last, step);
  const spread = room.width;
  const alone = middle + spread * spread * side;
  const crossed = 2 * spread * both;
  const left = 1 / Math.sqrt(alone + crossed);
  const right = 1 / Math.sqrt(alone - crossed);
  color(re, im, length, { sampleRate, room, left, right, spread, preDelay });
  fourier.inverse(re, im);

  const taps = decaySamples + Math.ceil(CUT_RINGING_SECONDS * sampleRate) + mostDelay;
  return { left: re.slice(0, taps), right: im.slice(0, taps) };
}

/** From M + j·S to L + j·R, with cuts and pre-delay: each bin and its mirror image together. */
function color(re, im, length, { sampleRate, room, left, right, spread, preDelay }) {
  const angle = (hz) => (Math.min(hz, HIGHEST_FREQUENCY * sampleRate) * Math.PI) / sampleRate;
  const low = angle(room.low_cut_hz);
  const high = angle(room.high_cut_hz);
  const level = (Math.cos(low) * Math.sin(high)) ** 2 / length;
  const cuts = [low, high].map((a) => [Math.sin(a) ** 2, Math.cos(a) ** 2, Math.sin(2 * a) / 2 / CUT_Q]);
  for (let k = 0; k <= length / 2; k++) {
    const half = (k * Math.PI) / length;
    const s2 = Math.sin(half) ** 2;
    const c2 = Math.cos(half) ** 2;
    const sc = Math.sin(2 * half) / 2;
    const turns = (k / length) * preDelay;
    const phase = -2 * Math.PI * (turns - Math.round(turns));
    let fr = -s2 * c2 * level * Math.cos(phase);
    let fi = -s2 * c2 * level * Math.sin(phase);
    for (const [s0, c0, sc0] of cuts) {
      const dr = c2 * s0 - s2 * c0;
      const di = sc * sc0;
      const size = dr * dr + di * di;
      const r = (fr * dr + fi * di) / size;
      fi = (fi * dr - fr * di) / size;
      fr = r;
    }
    const mirror = (length - k) % length;
    const mr = (re[k] + re[mirror]) / 2;
    const mi = (im[k] - im[mirror]) / 2;
    const sr = (spread * (im[k] + im[mirror])) / 2;
    const si = (spread * (re[mirror] - re[k])) / 2;
    const xr = left * (mr + sr);
    const xi = left * (mi + si);
    const yr = right * (mr - sr);
    const yi = right * (mi - si);
    const lr = xr * fr - xi * fi;
    const li = xr * fi + xi * fr;
    const rr = yr * fr - yi * fi;
    const ri = yr * fi + yi * fr;
    re[mirror] = lr + ri;
    im[mirror] = rr - li;
    re[k] = lr - ri;
    im[k] = li + rr;
  }
}

export const module = {
  fades: true,
  values: ({ wet_db }, isOn) => [isOn() ? 10 ** (wet_db / 20) : 0],
  make: (sampleRate, _, block) => new Rooms(sampleRate, block),
  tailSamples,
  response: {
    // The level is no part of it.
    of: (settings) => ({ ...settings, wet_db: 0 }),
    make: impulseResponse,
    blockFor: ({ left }) => offlineBlock(left.length),
    split: (response, blocks = LIVE_BLOCKS) => partition(response, blocks),
  },
};
