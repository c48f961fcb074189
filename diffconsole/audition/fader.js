/** Lets a module come and go without a click that knows nothing of being off. */

/** A processor whose last value is the share of it: 1 on, 0 off. */
export class Fader {
  /** @param {object} processor @param {number} channels @param {number} block */
  constructor(processor, channels, block) {
    this.processor = processor;
    this.meter = processor.meter;
    this.kept = Array.from({ length: Math.max(channels, 2) }, () => new Float64Array(block));
    this.isClear = true;
  }

  set(now) {
    this.processor.set?.(now);
  }

  clear() {
    this.processor.clear?.();
    this.isClear = true;
  }

  setRoom(levels) {
    this.processor.setRoom(levels);
  }

  /** Whether there is nothing to do; what was heard is then forgotten. */
  isSilent(share, old) {
    const isSilent = share === 0 && old === 0;
    if (isSilent && !this.isClear) this.clear();
    this.isClear = isSilent;
    return isSilent;
  }

  process(channels, from, to, now, before) {
    const share = now[now.length - 1];
    const old = before ? before[before.length - 1] : share;
    if (this.isSilent(share, old)) return;
    const isWhole = share === 1 && old === 1;
    if (!isWhole) channels.forEach((signal, c) => this.kept[c].set(signal.subarray(from, to), from));
    this.processor.process(channels, from, to, now, before);
    if (isWhole) return;
    const slope = (share - old) / (to - from);
    channels.forEach((signal, c) => {
      const dry = this.kept[c];
      for (let n = from; n < to; n++) signal[n] = dry[n] + (old + slope * (n - from)) * (signal[n] - dry[n]);
    });
  }

  send(channels, left, right, now, before, target) {
    const [share, old] = [now[now.length - 1], before[before.length - 1]];
    if (this.isSilent(share, old)) return;
    const [wetLeft, wetRight] = this.kept;
    wetLeft.fill(0);
    wetRight.fill(0);
    this.processor.send(channels, wetLeft, wetRight, now, before, target);
    const slope = (share - old) / left.length;
    for (let n = 0; n < left.length; n++) {
      left[n] += (old + slope * n) * wetLeft[n];
      right[n] += (old + slope * n) * wetRight[n];
    }
  }
}
