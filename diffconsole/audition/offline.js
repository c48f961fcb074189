/** A whole vocal through the console, as `diffconsole apply` renders it: tail and channels. */
import { active } from "./chain.js";
import { Console, consoleTarget } from "./console.js";

const BLOCK = 4096;

const respondNow = ({ response }, sampleRate, settings) => response.make(sampleRate, settings);

/** How long a strip rings on: a send that goes into those behind it rings before them. */
function tailOf(on, sampleRate) {
  let behind = 0;
  for (const { module, settings, isOn } of [...on].reverse()) {
    const own = module.tailSamples?.(sampleRate, settings) ?? 0;
    const isSentOn = module.sentOn && module.sentOn(module.values(settings, isOn)) > 0;
    behind = Math.max(behind, isSentOn ? own + behind : own);
  }
  return behind;
}

/**
 * Render in steps.
 *
 * @param {Float32Array[]} raw one or two channels
 * @param {number} sampleRate Hz
 * @param {Object<string, number>} settings by key
 * @param {Set<string>} off modules and bands that are bypassed
 * @param {number} traceSamples samples a point of the gain reduction's trace
 * @param {object} [options] tail: whether sends ring out behind the vocal; respond: makes a module's
 *   response
 * @yields {number} share done, after each block
 * @returns {{channels: Float32Array[], reduction: ?Float32Array}} one channel if the input is mono
 *   and neither a send nor the pan does anything; the least gain of each point in dB, null where
 *   nothing has a meter
 */
export function* render(raw, sampleRate, settings, off, traceSamples = 512, options = {}) {
  const { tail = true, respond = respondNow } = options;
  const samples = raw[0].length;
  const on = active(settings, off);
  const length = samples + (tail ? tailOf(on, sampleRate) : 0);
  const responses = on
    .filter(({ module }) => module.response)
    .map(({ module, settings: own }) => ({ module, made: respond(module, sampleRate, own) }));
  const block = Math.max(BLOCK, ...responses.map(({ module, made }) => module.response.blockFor(made)));
  const strip = new Console(sampleRate, raw.length, block);
  strip.setTarget(consoleTarget(settings, off), true);
  strip.trace = [];
  strip.traceStep = traceSamples;
  for (const { module, made } of responses) strip.setRoom(module.response.split(made, [block]), module.key);
  const wide = raw.length === 2 || on.some(({ module }) => ["send", "pan"].includes(module.place));
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
  const reduction = on.some(({ module }) => module.hasMeter) ? Float32Array.from(strip.trace) : null;
  if (on.length === 0) return { channels: raw.map((c) => c.slice()), reduction };
  return { channels: result.filter((channel) => channel), reduction };
}
