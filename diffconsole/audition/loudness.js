/**
 * Integrated loudness of a stereo signal after ITU-R BS.1770-4, with the filters and blocks of
 * pyloudnorm: `−0.691 + 10·log10(Σ z)` over blocks of 0.4 s, gated at −70 LUFS and 10 LU below.
 */
import { coefficients, runSection } from "../modules/equalizer/equalizer.js";

const BLOCK_SECONDS = 0.4;
const BLOCKS_A_SECOND = 10;

/**
 * @param {Float32Array[]} channels two; a mono result counts in both
 * @param {number} sampleRate Hz
 * @returns {number} LUFS, −Infinity for silence
 */
export function integratedLoudness(channels, sampleRate) {
  const length = channels[0].length;
  const shortest = Math.ceil(BLOCK_SECONDS * sampleRate);
  const repeated = Math.max(1, Math.ceil(shortest / Math.max(length, 1)));
  const samples = length * repeated;
  const count = Math.round((samples / sampleRate - BLOCK_SECONDS) * BLOCKS_A_SECOND) + 1;
  const powers = new Float64Array(count);
  const weighted = new Float64Array(samples);
  const shelf = coefficients("high_shelf", sampleRate, 1500, 4, Math.SQRT1_2);
  const cut = coefficients("high_pass", sampleRate, 38, 0, 0.5);
  for (const channel of channels) {
    for (let i = 0; i < repeated; i++) weighted.set(channel, i * length);
    runSection(weighted, 0, samples, shelf, new Float64Array(2), 1);
    runSection(weighted, 0, samples, cut, new Float64Array(2), 1);
    for (let j = 0; j < count; j++) {
      const from = Math.floor((j / BLOCKS_A_SECOND) * sampleRate);
      const to = Math.min(Math.floor((j / BLOCKS_A_SECOND + BLOCK_SECONDS) * sampleRate), samples);
      let sum = 0;
      for (let n = from; n < to; n++) sum += weighted[n] * weighted[n];
      powers[j] += sum / (BLOCK_SECONDS * sampleRate);
    }
  }
  const loudness = (power) => -0.691 + 10 * Math.log10(power);
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const above = powers.filter((power) => loudness(power) >= -70);
  if (above.length === 0) return -Infinity;
  const gate = loudness(mean(above)) - 10;
  const counted = powers.filter((power) => loudness(power) > gate && loudness(power) > -70);
  return counted.length ? loudness(mean(counted)) : -Infinity;
}

/**
 * Loudness and peak of a result as it is played: mono counts on two speakers.
 *
 * @param {Float32Array[]} channels one or two
 * @param {number} sampleRate Hz
 * @returns {{loudness: number, peak: number}} LUFS; full scale 1
 */
export function levelOf(channels, sampleRate) {
  const loudness = integratedLoudness([channels[0], channels[channels.length - 1]], sampleRate);
  let peak = 0;
  for (const channel of channels) for (const x of channel) peak = Math.max(peak, Math.abs(x));
  return { loudness, peak };
}
