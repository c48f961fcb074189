/**
 * The reverb at work: the send through the latest response, while older ones ring out.
 */
import { Convolver } from "./convolver.js";

const SEND_FADE_SECONDS = 0.03;
const MOST_ROOMS = 4;

/** Convolvers that the send fades into and out of. */
export class Rooms {
  /**
   * @param {number} sampleRate Hz
   * @param {number} block samples of every call
   */
  constructor(sampleRate, block) {
    Object.assign(this, { sampleRate, block });
    this.mean = new Float64Array(block);
    this.faded = new Float64Array(block);
    this.wet = [new Float64Array(block), new Float64Array(block)];
    this.rooms = [];
    this.stale = false;
  }

  /** Keep the latest room, silent. */
  clear() {
    const wanted = this.rooms.filter((room) => room.target === 1);
    this.rooms = wanted.slice(-1).map((room) => newRoom(room.levels, 1));
    this.stale = false;
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

  /** Add the return of the channels' mean; the level goes in a straight line. */
  send(channels, left, right, now, before, target) {
    const { block, mean, faded, wet } = this;
    if (now[0] === 0 && target[0] === 0) {
      this.stale = true;
      return;
    }
    if (this.stale) this.clear();
    const [first, second] = channels;
    for (let n = 0; n < block; n++) mean[n] = second ? (first[n] + second[n]) / 2 : first[n];
    wet[0].fill(0);
    wet[1].fill(0);
    const most = block / (SEND_FADE_SECONDS * this.sampleRate);
    for (const room of this.rooms) {
      const from = room.gain;
      room.gain += Math.min(Math.max(room.target - from, -most), most);
      for (let n = 0; n < block; n++) faded[n] = mean[n] * (from + ((room.gain - from) * n) / block);
      if (from === 1 && room.gain === 1) faded.set(mean);
      room.convolver.process(faded, wet[0], wet[1]);
      if (room.gain === 0 && room.target === 0) room.silent += block;
    }
    this.rooms = this.rooms.filter((room) => room.silent <= room.convolver.taps);
    const start = before[0];
    const slope = (now[0] - start) / block;
    for (let n = 0; n < block; n++) {
      const level = start + slope * n;
      left[n] += level * wet[0][n];
      right[n] += level * wet[1][n];
    }
  }
}

function newRoom(levels, gain) {
  return { levels, convolver: new Convolver(levels), gain, target: 1, silent: 0 };
}
