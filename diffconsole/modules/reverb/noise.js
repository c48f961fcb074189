/**
 * The reverb's noise, sample for sample that of `diffconsole/modules/reverb/noise.py`: the "lowbias32"
 * hash (C. Wellons, public domain) of the index plus a hash of the seed, mapped to ±√3, in octave
 * bands whose crossfades sum to 1.
 */
import { Fourier } from "../../audition/fft.js";

export const BAND_CENTRES_HZ = [63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000];
const LEAD_SECONDS = 0.25;
const PURE_OCTAVES = 1 / 6;
const MOST_KEPT_SAMPLES = 1 << 19;

function hash(value) {
  let h = value >>> 0;
  h ^= h >>> 16;
  h = Math.imul(h, 0x7feb352d);
  h ^= h >>> 15;
  h = Math.imul(h, 0x846ca68b);
  h ^= h >>> 16;
  return h >>> 0;
}

/** White noise of unit variance. @param {number} samples @param {number} seed */
export function whiteNoise(samples, seed) {
  const start = hash(Math.imul(seed, 0x9e3779b9) + 0x7f4a7c15);
  const noise = new Float64Array(samples);
  for (let n = 0; n < samples; n++) {
    noise[n] = ((hash(n + start) + 0.5) / 2 ** 31 - 1) * Math.sqrt(3);
  }
  return noise;
}

/** 0 below the crossfade between a band and the next, 1 above it. */
function step(band, freqHz) {
  const gap = Math.log2(BAND_CENTRES_HZ[band + 1] / BAND_CENTRES_HZ[band]);
  const along = Math.log2(freqHz / BAND_CENTRES_HZ[band]) / gap;
  const ramp = (along - PURE_OCTAVES) / (1 - 2 * PURE_OCTAVES);
  return 0.5 - 0.5 * Math.cos(Math.PI * Math.min(Math.max(ramp, 0), 1));
}

/** Amplitude of a band at a frequency within it. @param {number} band @param {number} freqHz */
export function bandWeight(band, freqHz) {
  const last = BAND_CENTRES_HZ.length - 1;
  if (freqHz < BAND_CENTRES_HZ[band]) return band === 0 ? 1 : step(band - 1, freqHz);
  return band === last ? 1 : 1 - step(band, freqHz);
}

let kept = { key: "", bands: null };

/**
 * Middle and side in octave bands, the quarter of a second before the first sample cut off.
 *
 * @param {number} sampleRate Hz
 * @param {number} samples length that is needed
 * @param {number} seed
 * @returns {Iterable<[Float32Array, Float32Array]>} middle and side, band by band; perhaps longer
 */
export function bandNoise(sampleRate, samples, seed) {
  const lead = Math.round(LEAD_SECONDS * sampleRate);
  let length = 2;
  while (length < samples + 2 * lead) length *= 2;
  const key = `${sampleRate} ${length} ${seed}`;
  if (kept.key === key) return kept.bands;
  const made = makeBands(sampleRate, length, lead, seed);
  if (length > MOST_KEPT_SAMPLES) return made;
  kept = { key, bands: [...made] };
  return kept.bands;
}

function* makeBands(sampleRate, length, lead, seed) {
  // Middle as the real and side as the imaginary part: the weights are real, so both pass alone.
  const fourier = new Fourier(length);
  const spectrumRe = whiteNoise(length, 2 * seed);
  const spectrumIm = whiteNoise(length, 2 * seed + 1);
  fourier.forward(spectrumRe, spectrumIm);
  const re = new Float64Array(length);
  const im = new Float64Array(length);
  for (let band = 0; band < BAND_CENTRES_HZ.length; band++) {
    re.fill(0);
    im.fill(0);
    let sounds = false;
    const [low, high] = [BAND_CENTRES_HZ[band - 1] ?? 0, BAND_CENTRES_HZ[band + 1] ?? Infinity];
    const stop = Math.min(length / 2, Math.floor((high * length) / sampleRate));
    for (let k = Math.ceil((low * length) / sampleRate); k <= stop; k++) {
      const weight = bandWeight(band, (k * sampleRate) / length) / length;
      if (weight === 0) continue;
      sounds = true;
      const mirror = (length - k) % length;
      re[k] = spectrumRe[k] * weight;
      im[k] = spectrumIm[k] * weight;
      re[mirror] = spectrumRe[mirror] * weight;
      im[mirror] = spectrumIm[mirror] * weight;
    }
    if (!sounds) continue;
    fourier.inverse(re, im);
    yield [Float32Array.from(re.subarray(lead)), Float32Array.from(im.subarray(lead))];
  }
}
