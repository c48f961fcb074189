/** The echo of `echo.py` beside this file. */

const LONGEST_SECONDS = 0.5;

class Echo {
  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.line = new Float64Array(Math.ceil(LONGEST_SECONDS * sampleRate) + 1);
    this.at = 0;
  }

  clear() {
    this.line.fill(0);
  }

  send(channels, left, right, now) {
    const { line } = this;
    const late = Math.round((Math.exp(now[0]) / 1000) * this.sampleRate);
    const level = 10 ** (now[1] / 20);
    const [first, second = first] = channels;
    for (let n = 0; n < left.length; n++) {
      line[this.at] = (first[n] + second[n]) / 2;
      const echo = level * line[(this.at - late + line.length) % line.length];
      left[n] += echo;
      right[n] += echo;
      this.at = (this.at + 1) % line.length;
    }
  }
}

export const module = {
  values: ({ delay_ms, level_db }) => [Math.log(delay_ms), level_db],
  make: (sampleRate) => new Echo(sampleRate),
  tailSamples: (sampleRate, { delay_ms }) => Math.round((delay_ms / 1000) * sampleRate),
};
