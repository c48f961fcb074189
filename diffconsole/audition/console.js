/**
 * The console: the modules of the chain as `diffconsole/console/console.py` runs them, in float64 and
 * in blocks. Gains before all, inserts one after the other, the pan of the dry signal, sends beside
 * each other into the sum, gains after all. While settings change they glide, so that nothing
 * clicks; at rest the samples are those of `diffconsole apply`.
 */
import { TWINS, ownOf } from "./chain.js";
import { Fader } from "./fader.js";

const GLIDE_SECONDS = 0.015;
const GLIDE_STEP = 32;

function valuesOf(module, { settings, isOn }) {
  const values = module.values(settings, isOn);
  return module.fades ? values : [...values, isOn() && !module.isIdle?.(settings, isOn) ? 1 : 0];
}

// Where each module's values lie in the glide's array.
const SPANS = [];
for (const module of TWINS) {
  const from = SPANS.length ? SPANS[SPANS.length - 1].to : 0;
  SPANS.push({ from, to: from + valuesOf(module, { settings: module.defaults, isOn: () => true }).length });
}
const VALUES = SPANS.length ? SPANS[SPANS.length - 1].to : 0;

/**
 * What the console glides to for a preset's settings.
 *
 * @param {Object<string, number>} settings every parameter by key
 * @param {Set<string>} off modules and bands that are bypassed
 * @returns {Float64Array}
 */
export function consoleTarget(settings, off) {
  return Float64Array.from(TWINS.flatMap((module) => valuesOf(module, ownOf(module, { settings, off }))));
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
    this.stepBefore = new Float64Array(VALUES);
    this.moving = false;
    this.work = Array.from({ length: channels }, () => new Float64Array(block));
    this.wet = [new Float64Array(block), new Float64Array(block)];
    this.own = [new Float64Array(block), new Float64Array(block)];
    this.parts = TWINS.map((module, i) => this.part(module, SPANS[i]));
    const at = (...places) => this.parts.filter(({ place }) => places.includes(place));
    // The gain before all goes first, wherever in the table it stands.
    this.inline = [...at("input"), ...at("insert")];
    this.pans = at("pan");
    this.sends = at("send");
    this.outputs = at("output");
    const metered = this.parts.filter(({ processor }) => processor.meter);
    /** By key of the modules that have one. */
    this.meters = Object.fromEntries(metered.map(({ key, processor }) => [key, processor.meter]));
    /** Set to an array and a step: gets the least gain in dB of every step, of all together. */
    this.trace = null;
    this.traceStep = block;
  }

  part(module, { from, to }) {
    const { sampleRate, block } = this;
    const channels = ["pan", "output"].includes(module.place) ? 2 : this.channels;
    const made = module.make(sampleRate, channels, block);
    const own = (values) => values.subarray(from, to);
    return {
      key: module.key,
      place: module.place,
      sentOn: module.sentOn,
      processor: module.fades ? made : new Fader(made, channels, block),
      now: own(this.now),
      before: own(this.before),
      stepBefore: own(this.stepBefore),
      target: own(this.target),
    };
  }

  /** Reset every state: filters, detector, reverb. */
  clear() {
    for (const { processor } of this.parts) processor.clear?.();
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
   * Give a module what was made apart of its settings.
   *
   * @param {?object[]} levels of its `response.split`; null for none
   * @param {string} key of the module
   */
  setRoom(levels, key) {
    this.parts.find((part) => part.key === key).processor.setRoom(levels);
  }

  /** Let the processors follow what the settings are now. */
  update() {
    for (const { processor, now } of this.parts) processor.set?.(now);
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
    const { block, work, wet } = this;
    this.before.set(this.now);
    const step = this.moving ? Math.min(GLIDE_STEP, block) : this.traceStep;
    for (let from = 0; from < block; from += step) {
      this.dry(input, from, from + step);
    }
    const [left, right] = output;
    left.set(work[0]);
    right.set(work[this.channels - 1]);
    for (const part of this.pans) part.processor.process(output, 0, block, part.now, part.before);
    if (this.sends.length) {
      for (const side of wet) side.fill(0);
      this.sends.forEach((part, place) => {
        if (part.sentOn && place + 1 < this.sends.length) this.sendOn(part);
        else part.processor.send(work, wet[0], wet[1], part.now, part.before, part.target);
      });
      for (let n = 0; n < block; n++) {
        left[n] += wet[0][n];
        right[n] += wet[1][n];
      }
    }
    for (const part of this.outputs) part.processor.process(output, 0, block, part.now, part.before);
  }

  /** Run a send whose return goes into those behind it as well. */
  sendOn({ processor, sentOn, now, before, target }) {
    const { block, work, wet, own } = this;
    for (const side of own) side.fill(0);
    processor.send(work, own[0], own[1], now, before, target);
    const start = sentOn(before);
    const slope = (sentOn(now) - start) / block;
    for (let n = 0; n < block; n++) {
      wet[0][n] += own[0][n];
      wet[1][n] += own[1][n];
      const fed = ((start + slope * n) * (own[0][n] + own[1][n])) / 2;
      for (const signal of work) signal[n] += fed;
    }
  }

  /** Input gain and inserts of a part of the block. */
  dry(input, from, to) {
    const isMoving = this.moving;
    if (isMoving) {
      this.stepBefore.set(this.now);
      this.glide(to - from);
    }
    const meters = this.trace ? Object.values(this.meters) : [];
    for (const meter of meters) meter.lowest = 0;
    for (let c = 0; c < this.channels; c++) {
      const [signal, source] = [this.work[c], input[c]];
      for (let n = from; n < to; n++) signal[n] = source[n];
    }
    for (const { processor, now, stepBefore } of this.inline) {
      processor.process(this.work, from, to, now, isMoving ? stepBefore : null);
    }
    this.trace?.push(meters.reduce((sum, { lowest }) => sum + lowest, 0));
  }
}
