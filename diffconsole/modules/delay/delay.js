/**
 * Delay: echoes with feedback as a send, as `diffconsole/modules/delay/process.py`. Two lines, one for
 * the echoes 1, 3, 5 …, one for the others; what goes into one is the send and the feedback of the
 * other, through both cuts, and what comes out is read between samples by a windowed sinc.
 */

const TAPS = 32;
const BEFORE = 15;
const CUT_Q = 0.71;
const CUT_RINGING_SECONDS = 0.1;
const HIGHEST_FREQUENCY = 0.49;
const LONGEST_MS = 1500;
const NONE_DB = -60;
const SILENT_DB = -60;

// Where each value lies among those that glide.
const [TIME, FEEDBACK, LOW_CUT, HIGH_CUT, WIDTH, WET, SENT] = [0, 1, 2, 3, 4, 5, 6];

const levelOf = (db) => (db > NONE_DB ? 10 ** (db / 20) : 0);

/** How many echoes there are until they have fallen by so much. */
function echoes(feedback, fallenDb) {
  if (feedback <= 0) return 1;
  return Math.max(1, Math.ceil(fallenDb / (20 * Math.log10(feedback))) + 1);
}

/** Samples until the echoes have fallen by 60 dB. */
function tailSamples(sampleRate, { time_ms, feedback }) {
  const seconds = (echoes(feedback, SILENT_DB) * time_ms) / 1000 + CUT_RINGING_SECONDS;
  return Math.ceil(seconds * sampleRate);
}

/** b0, b1, b2, a1, a2 of a cookbook cut. @param {number} sign 1 high-pass, −1 low-pass */
function cut(sampleRate, freqHz, sign) {
  const w = (2 * Math.PI * Math.min(freqHz, HIGHEST_FREQUENCY * sampleRate)) / sampleRate;
  const a = Math.sin(w) / (2 * CUT_Q);
  const top = (0.5 * (1 + sign * Math.cos(w))) / (1 + a);
  return [top, -2 * sign * top, top, (-2 * Math.cos(w)) / (1 + a), (1 - a) / (1 + a)];
}

/** The filter that delays by a fraction of a sample and by 15 whole ones. */
function interpolation(fraction) {
  return Float64Array.from({ length: TAPS }, (_, k) => {
    const u = k - BEFORE - fraction;
    const turn = (2 * Math.PI * u) / TAPS;
    const sinc = u === 0 ? 1 : Math.sin(Math.PI * u) / (Math.PI * u);
    return sinc * (0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn));
  });
}

/** One sample through a cut; `state` holds two inputs and two outputs. */
function through([b0, b1, b2, a1, a2], state, x) {
  const y = b0 * x + b1 * state[0] + b2 * state[1] - a2 * state[3] - a1 * state[2];
  state[1] = state[0];
  state[0] = x;
  state[3] = state[2];
  state[2] = Math.abs(y) < 1e-200 ? 0 : y;
  return state[2];
}

class Delay {
  /** @param {number} sampleRate Hz @param {number} block samples of every call */
  constructor(sampleRate, block) {
    Object.assign(this, { sampleRate, block });
    this.size = 1;
    while (this.size < (LONGEST_MS / 1000) * sampleRate + 2 * TAPS) this.size *= 2;
    this.lines = [new Float64Array(this.size), new Float64Array(this.size)];
    this.time = NaN;
    this.clear();
  }

  clear() {
    for (const line of this.lines) line.fill(0);
    // Of each line, the states of the high-pass and of the low-pass.
    this.states = this.lines.map(() => [new Float64Array(4), new Float64Array(4)]);
    this.place = 0;
    this.stale = false;
    this.past = null;
  }

  set(now) {
    this.cuts = [
      cut(this.sampleRate, Math.exp(now[LOW_CUT]), 1),
      cut(this.sampleRate, Math.exp(now[HIGH_CUT]), -1),
    ];
    if (now[TIME] === this.time) return;
    this.time = now[TIME];
    const late = (Math.exp(now[TIME]) * this.sampleRate) / 1000;
    // A time of whole samples has come through a logarithm.
    const whole = Math.abs(late - Math.round(late)) < 1e-9 ? Math.round(late) : Math.floor(late);
    this.reader = { whole, taps: interpolation(late - whole) };
  }

  /** What comes out of a line. */
  read(line, { whole, taps }, place) {
    const mask = this.size - 1;
    const at = place - whole + BEFORE + this.size;
    let sum = 0;
    for (let k = 0; k < TAPS; k++) sum += taps[k] * line[(at - k) & mask];
    return sum;
  }

  /** Add the echoes of the channels' mean. Levels go in straight lines; a new time is faded to. */
  send(channels, left, right, now, before, target) {
    const { block, lines, states, cuts, reader, size } = this;
    if (now[WET] === 0 && before[WET] === 0 && target[WET] === 0) {
      this.stale = true;
      return;
    }
    if (this.stale) this.clear();
    const [first, second] = channels;
    const past = this.past ?? reader;
    const isMoving = past !== reader;
    const step = 1 / block;
    for (let n = 0; n < block; n++) {
      const between = (i) => before[i] + n * step * (now[i] - before[i]);
      let odd = this.read(lines[0], reader, this.place);
      let even = this.read(lines[1], reader, this.place);
      if (isMoving) {
        const share = n * step;
        odd = share * odd + (1 - share) * this.read(lines[0], past, this.place);
        even = share * even + (1 - share) * this.read(lines[1], past, this.place);
      }
      const feedback = between(FEEDBACK);
      const x = (second ? (first[n] + second[n]) / 2 : first[n]) + feedback * even;
      lines[0][this.place] = through(cuts[1], states[0][1], through(cuts[0], states[0][0], x));
      const fed = feedback * odd;
      lines[1][this.place] = through(cuts[1], states[1][1], through(cuts[0], states[1][0], fed));
      this.place = (this.place + 1) & (size - 1);
      const wet = between(WET);
      const near = between(WIDTH);
      const far = wet * Math.sqrt(2) * Math.sin((Math.PI / 4) * (1 - near));
      const own = wet * Math.sqrt(2) * Math.cos((Math.PI / 4) * (1 - near));
      left[n] += own * odd + far * even;
      right[n] += far * odd + own * even;
    }
    this.past = reader;
  }
}

/** The level of both sides over time, a peak an echo, as module.py's. */
function curve(_, { time_ms, feedback, width, wet_db }) {
  const fall = feedback > 0 ? 20 * Math.log10(feedback) : -Infinity;
  const count = Math.min(echoes(feedback, Math.min(NONE_DB - wet_db, -1)), 100);
  const gains = [Math.cos, Math.sin].map((f) => Math.SQRT2 * f((Math.PI / 4) * (1 - width)));
  const [x, left, right] = [[0], [NONE_DB], [NONE_DB]];
  for (let k = 0; k < count; k++) {
    const at = ((k + 1) * time_ms) / 1000;
    x.push(at - (0.02 * time_ms) / 1000, at, at + (0.02 * time_ms) / 1000);
    [left, right].forEach((side, i) => {
      const level = wet_db + (k ? k * fall : 0) + 20 * Math.log10(Math.max(gains[(i + k) % 2], 1e-9));
      side.push(NONE_DB, Math.max(level, NONE_DB), NONE_DB);
    });
  }
  return { xLabel: "s", yLabel: "dB", x, lines: { left, right }, isLog: false };
}

export const module = {
  fades: true,
  values: (own, isOn) => [
    Math.log(own.time_ms),
    own.feedback,
    Math.log(own.low_cut_hz),
    Math.log(own.high_cut_hz),
    own.width,
    isOn() ? levelOf(own.wet_db) : 0,
    levelOf(own.reverb_send_db),
  ],
  make: (sampleRate, _, block) => new Delay(sampleRate, block),
  isIdle: ({ wet_db }) => wet_db <= NONE_DB,
  sentOn: (values) => values[SENT],
  tailSamples,
  curve,
};
