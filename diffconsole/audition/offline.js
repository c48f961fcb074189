/** A whole vocal through the console, as `diffconsole apply` renders it: tail and channels. */
import { Console, consoleTarget } from "./console.js";
import { offlineBlock, partition } from "./convolver.js";
import { impulseResponse, tailSamples } from "./reverb.js";
import { isOff } from "./preset.js";
import { EQ_BANDS } from "./equalizer.js";

/** The reverb's settings by name. @param {Object<string, number>} settings by key */
export function roomOf(settings) {
  const own = Object.entries(settings).filter(([key]) => key.startsWith("reverb."));
  return Object.fromEntries(own.map(([key, value]) => [key.slice("reverb.".length), value]));
}

/**
 * Render in steps.
 *
 * @param {Float32Array[]} raw one or two channels
 * @param {number} sampleRate Hz
 * @param {Object<string, number>} settings by key
 * @param {Set<string>} off modules and bands that are bypassed
 * @param {number} traceSamples samples a point of the gain reduction's trace
 * @param {object} [options] tail: whether the reverb rings out behind the vocal; respond: makes the
 *   impulse response
 * @yields {number} share done, after each block
 * @returns {{channels: Float32Array[], reduction: Float32Array}} one channel if the input is mono,
 *   the reverb off and the pan 0; the least gain of each point in dB
 */
export function* render(raw, sampleRate, settings, off, traceSamples = 512, options = {}) {
  const { tail = true, respond = impulseResponse } = options;
  const samples = raw[0].length;
  const reverb = !off.has("reverb");
  const length = samples + (reverb && tail ? tailSamples(sampleRate, roomOf(settings)) : 0);
  const levels = [];
  let block = 4096;
  if (reverb) {
    const response = respond(sampleRate, roomOf(settings));
    block = offlineBlock(response.left.length);
    levels.push(...partition(response, [block]));
  }
  const strip = new Console(sampleRate, raw.length, block);
  strip.setTarget(consoleTarget(settings, off), true);
  strip.trace = [];
  strip.traceStep = traceSamples;
  if (reverb) strip.setRoom(levels);
  const panned = !off.has("pan") && settings["pan.position"] !== 0;
  const idle = EQ_BANDS.every((band) => isOff(off, `eq.${band}`)) && off.has("compressor");
  const untouched = idle && off.has("input_gain") && off.has("output_gain");
  const wide = raw.length === 2 || reverb || panned;
  const result = [new Float32Array(length), wide ? new Float32Array(length) : null];
  const output = [new Float64Array(block), new Float64Array(block)];
  const input = raw.map(() => new Float32Array(block));
  for (let from = 0; from < length; from += block) {
    input.forEach((part, channel) => {
      part.fill(0);
      if (from < samples) part.set(raw[channel].subarray(from, from + block));
    });
    strip.process(input, output);
    const count = Math.min(block, length - from);
    result.forEach((channel, side) => channel?.set(output[side].subarray(0, count), from));
    yield Math.min((from + block) / length, 1);
  }
  const reduction = Float32Array.from(strip.trace);
  if (untouched && !reverb && !panned) return { channels: raw.map((c) => c.slice()), reduction };
  return { channels: result.filter((channel) => channel), reduction };
}
