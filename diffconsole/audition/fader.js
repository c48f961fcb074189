/** Lets a module that knows nothing of being off come and go without a click. */

/**
 * A processor whose last value is the share of it: 1 on, 0 off. What goes in is faded too, so that
 * what comes out later, as from a delay, does not begin with a jump.
 */
export class Fader {
  /** @param {object} processor @param {number} channels @param {number} block */
  constructor(processor, channels, block) {
    this.processor = processor;
    this.meter = processor.meter;
    const signals = (count) => Array.from({ length: count }, () => new Float64Array(block));
    this.dry = signals(channels);
    this.wet = signals(2);
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

  /** Whether there is nothing to do; the processor is then cleared. */
  isSilent(share, old) {
    const isSilent = share === 0 && old === 0;
    if (isSilent && !this.isClear) this.clear();
    this.isClear = isSilent;
    return isSilent;
  }

  process(channels, from, to, now, before) {
    const { dry, processor } = this;
    const share = now[now.length - 1];
    const old = before ? before[before.length - 1] : share;
    if (this.isSilent(share, old)) return;
    if (share === 1 && old === 1) {
      processor.process(channels, from, to, now, before);
      return;
    }
    const slope = (share - old) / (to - from);
    channels.forEach((signal, c) => {
      dry[c].set(signal.subarray(from, to), from);
      for (let n = from; n < to; n++) signal[n] *= old + slope * (n - from);
    });
    processor.process(channels, from, to, now, before);
    channels.forEach((signal, c) => {
      for (let n = from; n < to; n++) signal[n] = dry[c][n] + (old + slope * (n - from)) * (signal[n] - dry[c][n]);
    });
  }

  send(channels, left, right, now, before, target) {
    const { dry, wet, processor } = this;
    const [share, old] = [now[now.length - 1], before[before.length - 1]];
    if (this.isSilent(share, old)) return;
    if (share === 1 && old === 1) {
      processor.send(channels, left, right, now, before, target);
      return;
    }
    const slope = (share - old) / left.length;
    channels.forEach((signal, c) => {
      for (let n = 0; n < left.length; n++) dry[c][n] = signal[n] * (old + slope * n);
    });
    for (const side of wet) side.fill(0);
    processor.send(dry, wet[0], wet[1], now, before, target);
    for (let n = 0; n < left.length; n++) {
      left[n] += (old + slope * n) * wet[0][n];
      right[n] += (old + slope * n) * wet[1][n];
    }
  }
}
