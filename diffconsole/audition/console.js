/**
 * The console: input gain → EQ → compressor → pan of the dry signal + reverb send → output gain,
 * as `diffconsole/console/console.py`, in float64 and in blocks. While settings change they glide,
 * so that nothing clicks; at rest the samples are those of `diffconsole apply`.
 */
import { Convolver } from "./convolver.js";
import { compress, smoothing } from "./compressor.js";
import { EQ_BANDS, coefficients, runSection } from "./equalizer.js";

const GLIDE_SECONDS = 0.015;
const GLIDE_STEP = 32;
const SEND_FADE_SECONDS = 0.03;
const MOST_ROOMS = 4;

// Where each value lies in the glide's array: four a band, then these.
const PER_BAND = 4;
const OTHERS = [
  "input", "threshold", "slope", "attack", "release", "knee", "makeup", "compressor", "left",
  "right", "wet", "output",
];
const AT = Object.fromEntries(OTHERS.map((name, i) => [name, PER_BAND * EQ_BANDS.length + i]));
const VALUES = PER_BAND * EQ_BANDS.length + OTHERS.length;

const amplitude = (db) => 10 ** (db / 20);

/**
 * What the console glides to for a preset's settings.
 *
 * @param {Object<string, number>} settings every parameter by key
 * @param {Set<string>} off modules and bands that are bypassed
 * @returns {Float64Array}
 */
export function consoleTarget(settings, off) {
  const target = new Float64Array(VALUES);
  EQ_BANDS.forEach((band, i) => {
    const on = !off.has("eq") && !off.has(`eq.${band}`);
    target[PER_BAND * i] = Math.log(settings[`eq.${band}.freq_hz`]);
    target[PER_BAND * i + 1] = settings[`eq.${band}.gain_db`] ?? 0;
    target[PER_BAND * i + 2] = Math.log(settings[`eq.${band}.q`]);
    target[PER_BAND * i + 3] = on ? 1 : 0;
  });
  const gain = (module) => (off.has(module) ? 1 : amplitude(settings[`${module}.gain_db`]));
  const position = off.has("pan") ? 0 : settings["pan.position"];
  const angle = (Math.PI / 4) * (1 + position);
  const values = {
    input: gain("input_gain"),
    threshold: settings["compressor.threshold_db"],
    slope: 1 / settings["compressor.ratio"] - 1,
    attack: Math.log(settings["compressor.attack_ms"]),
    release: Math.log(settings["compressor.release_ms"]),
    knee: settings["compressor.knee_db"],
    makeup: settings["compressor.makeup_db"],
    compressor: off.has("compressor") ? 0 : 1,
    left: position === 0 ? 1 : Math.SQRT2 * Math.cos(angle),
    right: position === 0 ? 1 : Math.SQRT2 * Math.sin(angle),
    wet: off.has("reverb") ? 0 : amplitude(settings["reverb.wet_db"]),
    output: gain("output_gain"),
  };
  for (const name of OTHERS) target[AT[name]] = values[name];
  return target;
}

/** The strip at work on one vocal. */
export class Console {
  /**
   * @param {number} sampleRate Hz
   * @param {number} channels 1 or 2
   * @param {number} block samples of every call
   */
  constructor(sampleRate, channels, block) {
    Object.assign(this, { sampleRate, channels, block });
    this.target = new Float64Array(VALUES);
    this.now = new Float64Array(VALUES);
    this.before = new Float64Array(VALUES);
    this.moving = false;
    this.shares = new Float64Array(EQ_BANDS.length);
    this.sections = EQ_BANDS.map(() => new Float64Array(5));
    this.work = Array.from({ length: channels }, () => new Float64Array(block));
    this.send = new Float64Array(block);
    this.faded = new Float64Array(block);
    this.wet = [new Float64Array(block), new Float64Array(block)];
    this.rooms = [];
    this.stale = false;
    this.meter = { level: 0, loudest: 0, lowest: 0 };
    /** Set to an array and a step: gets the least gain in dB of every step. */
    this.trace = null;
    this.traceStep = block;
    this.clear();
  }

  /** Forget what was heard: filters, detector, reverb. */
  clear() {
    this.states = EQ_BANDS.map(() => this.work.map(() => new Float64Array(2)));
    this.meter.level = 0;
    this.clearRooms();
  }

  /** Keep the latest room, silent. */
  clearRooms() {
    const wanted = this.rooms.filter((room) => room.target === 1);
    this.rooms = wanted.slice(-1).map((room) => newRoom(room.levels, 1));
    this.stale = false;
  }

  /**
   * Change the settings.
   *
   * @param {Float64Array} target of {@link consoleTarget}
   * @param {boolean} atOnce without a glide
   */
  setTarget(target, atOnce) {
    this.target.set(target);
    this.moving = !atOnce;
    if (atOnce) this.now.set(target);
    this.update();
  }

  /**
   * Change the room. What was sent before rings out in the old one.
   *
   * @param {?object[]} levels of `partition`; null for none
   */
  setRoom(levels) {
    for (const room of this.rooms) room.target = 0;
    const atOnce = this.rooms.length === 0;
    if (levels) this.rooms.push(newRoom(levels, atOnce ? 1 : 0));
    while (this.rooms.length > MOST_ROOMS) this.rooms.shift();
  }

  /** Coefficients of what the settings are now. */
  update() {
    const { now, sampleRate } = this;
    for (let i = 0; i < EQ_BANDS.length; i++) {
      const at = PER_BAND * i;
      const [freq, q] = [Math.exp(now[at]), Math.exp(now[at + 2])];
      coefficients(EQ_BANDS[i], sampleRate, freq, now[at + 1], q, this.sections[i]);
    }
    this.dynamics = {
      attack: smoothing(Math.exp(now[AT.attack]), sampleRate),
      release: smoothing(Math.exp(now[AT.release]), sampleRate),
      threshold: now[AT.threshold],
      slope: now[AT.slope],
      knee: now[AT.knee],
      makeup: now[AT.makeup],
      share: now[AT.compressor],
    };
  }

  /** Move the settings on by some samples. */
  glide(samples) {
    const share = 1 - Math.exp(-samples / (GLIDE_SECONDS * this.sampleRate));
    this.moving = false;
    for (let i = 0; i < VALUES; i++) {
      const rest = this.target[i] - this.now[i];
      if (Math.abs(rest) < 1e-4) {
        this.now[i] = this.target[i];
      } else {
        this.now[i] += share * rest;
        this.moving = true;
      }
    }
    this.update();
  }

  /**
   * Process a block.
   *
   * @param {Float32Array[]} input channels of the raw vocal
   * @param {Float64Array[]} output left and right, overwritten
   */
  process(input, output) {
    const { block, now, before } = this;
    before.set(now);
    const step = this.moving ? Math.min(GLIDE_STEP, block) : this.traceStep;
    for (let from = 0; from < block; from += step) {
      const inputBefore = now[AT.input];
      const dynamicsBefore = this.dynamics;
      for (let i = 0; i < EQ_BANDS.length; i++) this.shares[i] = now[PER_BAND * i + 3];
      if (this.moving) {
        this.glide(step);
        this.dynamics.before = dynamicsBefore;
      }
      if (this.trace) this.meter.lowest = 0;
      this.dry(input, from, from + step, inputBefore);
      this.trace?.push(this.meter.lowest);
      this.dynamics.before = null;
    }
    this.reverberate();
    const [left, right] = output;
    const first = this.work[0];
    const second = this.work[this.channels - 1];
    const [wetLeft, wetRight] = this.wet;
    // Each gain goes in a straight line from what it was before the block to what it is now.
    const line = (name) => [before[AT[name]], (now[AT[name]] - before[AT[name]]) / block];
    const [l0, l1] = line("left");
    const [r0, r1] = line("right");
    const [w0, w1] = line("wet");
    const [o0, o1] = line("output");
    for (let n = 0; n < block; n++) {
      const gain = o0 + o1 * n;
      const wet = w0 + w1 * n;
      left[n] = gain * (first[n] * (l0 + l1 * n) + wet * wetLeft[n]);
      right[n] = gain * (second[n] * (r0 + r1 * n) + wet * wetRight[n]);
    }
  }

  /** Input gain, EQ and compressor of a part of the block. */
  dry(input, from, to, inputBefore) {
    const { now, work, states, sections } = this;
    const gain = now[AT.input];
    work.forEach((signal, channel) => {
      const source = input[channel];
      const slope = (gain - inputBefore) / (to - from);
      for (let n = from; n < to; n++) signal[n] = source[n] * (inputBefore + slope * (n - from));
      for (let i = 0; i < EQ_BANDS.length; i++) {
        const [share, old] = [now[PER_BAND * i + 3], this.shares[i]];
        const state = states[i][channel];
        if (share > 0 || old > 0) runSection(signal, from, to, sections[i], state, share, old);
        else state.fill(0);
      }
    });
    const { share, before } = this.dynamics;
    if (share > 0 || before?.share > 0) compress(work, from, to, this.dynamics, this.meter);
  }

  /** The mean of the channels through the rooms, old ones ringing out. */
  reverberate() {
    const { block, send, faded, work, wet } = this;
    wet[0].fill(0);
    wet[1].fill(0);
    if (this.now[AT.wet] === 0 && this.target[AT.wet] === 0) {
      this.stale = true;
      return;
    }
    if (this.stale) this.clearRooms();
    for (let n = 0; n < block; n++) {
      send[n] = this.channels === 1 ? work[0][n] : (work[0][n] + work[1][n]) / 2;
    }
    const most = block / (SEND_FADE_SECONDS * this.sampleRate);
    for (const room of this.rooms) {
      const from = room.gain;
      room.gain += Math.min(Math.max(room.target - from, -most), most);
      for (let n = 0; n < block; n++) faded[n] = send[n] * (from + ((room.gain - from) * n) / block);
      if (from === 1 && room.gain === 1) faded.set(send);
      room.convolver.process(faded, wet[0], wet[1]);
      if (room.gain === 0 && room.target === 0) room.silent += block;
    }
    this.rooms = this.rooms.filter((room) => room.silent <= room.convolver.taps);
  }
}

function newRoom(levels, gain) {
  return { levels, convolver: new Convolver(levels), gain, target: 1, silent: 0 };
}
