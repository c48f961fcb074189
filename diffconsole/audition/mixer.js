/**
 * What is heard: the versions of a vocal on one playhead, crossfaded, looped, matched in level.
 *
 * A version is a buffer that was rendered whole, or, while its preset is being edited, the console
 * live. All are read at the same sample, so switching never shifts anything. The console of the
 * version that is heard always runs, so that it is warm when the first edit comes.
 */
import { Console } from "./console.js";

const SWITCH_SECONDS = 0.02;
const JUMP_SECONDS = 0.008;
const MATCH_SECONDS = 0.03;

/** One thing to listen to. */
class Version {
  constructor() {
    this.channels = null;
    this.strip = null;
    this.gain = 0;
    this.live = 0;
    this.wantsLive = false;
    this.warm = false;
    this.level = 1;
    this.wantedLevel = 1;
  }
}

export class Mixer {
  /** @param {number} sampleRate Hz @param {number} block samples of every call */
  constructor(sampleRate, block) {
    Object.assign(this, { sampleRate, block });
    this.now = new Int32Array(block);
    this.old = new Int32Array(block);
    this.share = new Float64Array(block);
    this.output = [new Float64Array(block), new Float64Array(block)];
    this.load([new Float32Array(1)], 0, 1);
  }

  /**
   * Take a vocal.
   *
   * @param {Float32Array[]} raw
   * @param {number} count versions
   * @param {number} length samples of the longest version
   * @param {number} [mark] number of this call, which reports repeat
   */
  load(raw, count, length, mark = 0) {
    this.mark = mark;
    this.raw = raw;
    this.input = raw.map(() => new Float32Array(this.block));
    this.versions = Array.from({ length: count }, () => new Version());
    this.length = length;
    this.selected = 0;
    this.position = 0;
    this.playing = false;
    this.volume = 0;
    this.loop = null;
    this.jump = null;
    this.peak = 0;
  }

  /** Give a version its audio. */
  setBuffer(index, channels) {
    const version = this.versions[index];
    version.channels = channels;
    this.length = Math.max(this.length, channels[0].length);
  }

  /** Give a version its console's settings; the first time makes the console. */
  setStrip(index, target) {
    const version = this.versions[index];
    const isNew = !version.strip;
    version.strip ??= new Console(this.sampleRate, this.raw.length, this.block);
    version.strip.setTarget(target, isNew || !version.warm);
  }

  /** Give a version's console what was made apart for a module. */
  setRoom(index, levels, module) {
    this.versions[index].strip.setRoom(levels, module);
  }

  /** Hear the console instead of the buffer, or the other way round. */
  setLive(index, live) {
    this.versions[index].wantsLive = live;
  }

  setLevels(levels) {
    levels.forEach((level, i) => (this.versions[i].wantedLevel = level));
  }

  select(index) {
    this.selected = index;
  }

  play(playing, mark = this.mark) {
    this.mark = mark;
    if (playing && this.position >= this.length) this.seek(this.loop ? this.loop[0] : 0);
    this.playing = playing;
  }

  /** Go somewhere; what sounds fades over. @param {number} position samples */
  seek(position, mark = this.mark) {
    this.mark = mark;
    const to = Math.min(Math.max(Math.round(position), 0), this.length);
    this.jump = this.volume > 0 ? { from: this.position, done: 0 } : null;
    this.position = to;
  }

  setLoop(loop, mark = this.mark) {
    this.mark = mark;
    this.loop = loop;
    if (loop && (this.position < loop[0] || this.position >= loop[1])) this.seek(loop[0]);
  }

  /** Where each sample of the block is read: now, and before a jump, whose share falls. */
  walk() {
    const jumpSamples = JUMP_SECONDS * this.sampleRate;
    for (let n = 0; n < this.block; n++) {
      if (this.loop && this.position === this.loop[1]) this.seek(this.loop[0]);
      this.now[n] = this.position++;
      this.share[n] = 0;
      if (!this.jump) continue;
      const along = Math.min(++this.jump.done / jumpSamples, 1);
      this.share[n] = along === 1 ? 0 : 0.5 + 0.5 * Math.cos(Math.PI * along);
      this.old[n] = this.jump.from++;
      if (this.share[n] === 0) this.jump = null;
    }
  }

  read(channel, n) {
    const share = this.share[n];
    const sample = channel[this.now[n]] ?? 0;
    return share === 0 ? sample : sample + share * ((channel[this.old[n]] ?? 0) - sample);
  }

  /**
   * Make a block.
   *
   * @param {Float32Array} left overwritten
   * @param {Float32Array} right overwritten
   */
  process(left, right) {
    const { block, versions } = this;
    left.fill(0);
    right.fill(0);
    if (!this.playing && this.volume === 0) {
      for (const version of versions) Object.assign(version, { warm: false, level: version.wantedLevel });
      return;
    }
    this.walk();
    this.input.forEach((part, i) => {
      for (let n = 0; n < block; n++) part[n] = this.read(this.raw[i], n);
    });
    const step = 1 / (SWITCH_SECONDS * this.sampleRate);
    const matching = 1 - Math.exp(-1 / (MATCH_SECONDS * this.sampleRate));
    versions.forEach((version, index) => {
      const wanted = index === this.selected ? 1 : 0;
      if (version.gain === 0 && wanted === 0) {
        version.warm = false;
        version.live = version.wantsLive || !version.channels ? 1 : 0;
        version.level = version.wantedLevel;
        return;
      }
      this.runConsole(version);
      this.add(version, wanted, step, matching, left, right);
    });
    const fade = 1 / (JUMP_SECONDS * this.sampleRate);
    for (let n = 0; n < block; n++) {
      this.volume += this.playing ? Math.min(fade, 1 - this.volume) : -Math.min(fade, this.volume);
      left[n] *= this.volume;
      right[n] *= this.volume;
      this.peak = Math.max(this.peak, Math.abs(left[n]), Math.abs(right[n]));
    }
    if (!this.loop && this.position >= this.length) this.playing = false;
  }

  runConsole(version) {
    if (!version.strip) return;
    if (!version.warm) version.strip.clear();
    version.warm = true;
    version.strip.process(this.input, this.output);
  }

  /** Add a version, its gain on the way to what is wanted. */
  add(version, wanted, step, matching, left, right) {
    const channels = version.channels;
    const first = channels?.[0];
    const second = channels?.[channels.length - 1];
    const live = version.strip && (version.wantsLive || !channels) ? 1 : 0;
    for (let n = 0; n < this.block; n++) {
      version.gain += Math.min(Math.max(wanted - version.gain, -step), step);
      version.live += Math.min(Math.max(live - version.live, -step), step);
      version.level += matching * (version.wantedLevel - version.level);
      const gain = version.gain * version.level;
      const console = gain * version.live;
      const buffer = gain - console;
      if (buffer !== 0 && first) {
        left[n] += buffer * this.read(first, n);
        right[n] += buffer * this.read(second, n);
      }
      if (console !== 0 && version.strip) {
        left[n] += console * this.output[0][n];
        right[n] += console * this.output[1][n];
      }
    }
  }

  /** What the page shows; peaks start anew. */
  report() {
    const meters = this.versions[this.selected]?.strip?.meters ?? {};
    const found = {
      mark: this.mark,
      position: Math.min(this.position, this.length),
      playing: this.playing,
      peak: this.peak,
      meters: {},
    };
    this.peak = 0;
    for (const [key, meter] of Object.entries(meters)) {
      found.meters[key] = { level: meter.loudest, reduction: meter.lowest };
      Object.assign(meter, { loudest: 0, lowest: 0 });
    }
    return found;
  }
}
