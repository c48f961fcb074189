/** The waveform with playhead and loop, and the gain reduction under it. */
import { area, clock, colour, line, number, prepare, word } from "./canvas.js";
import { TRACE_SAMPLES } from "./session.js";

const REDUCTION_STEPS_DB = [6, 12, 24, 36];
const LEAST_LOOP_SECONDS = 0.05;
const DRAG_PIXELS = 4;

export class Waveform {
  /**
   * @param {HTMLCanvasElement} canvas the waveform: a slider for the keyboard
   * @param {HTMLCanvasElement} trace the gain reduction
   * @param {HTMLElement} playhead a line over both
   * @param {HTMLElement} note says what the trace shows
   * @param {object} actions seek(samples), setLoop([from, to] or null)
   */
  constructor(canvas, trace, playhead, note, actions) {
    Object.assign(this, { canvas, trace, playhead, note, actions });
    this.spoken = "";
    this.drag = null;
    for (const target of [canvas, trace]) {
      target.addEventListener("pointerdown", (event) => this.down(event));
      target.addEventListener("pointermove", (event) => this.move(event));
      target.addEventListener("pointerup", (event) => this.up(event));
      target.addEventListener("pointercancel", () => (this.drag = null));
    }
  }

  sampleAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const along = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return Math.round(along * this.session.length);
  }

  down(event) {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    this.drag = { x: event.clientX, sample: this.sampleAt(event), moved: false };
  }

  move(event) {
    if (!this.drag) return;
    if (Math.abs(event.clientX - this.drag.x) >= DRAG_PIXELS) this.drag.moved = true;
    if (this.drag.moved) {
      this.drag.loop = [this.drag.sample, this.sampleAt(event)].sort((a, b) => a - b);
      this.draw();
    }
  }

  up() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (drag.loop) {
      const least = LEAST_LOOP_SECONDS * this.session.sampleRate;
      if (drag.loop[1] - drag.loop[0] >= least) this.actions.setLoop(drag.loop);
      else this.draw();
    } else {
      this.actions.seek(drag.sample);
    }
  }

  /** Show the playhead somewhere. @param {number} position samples */
  moveTo(position) {
    const { sampleRate, length } = this.session;
    const x = (position / length) * this.canvas.clientWidth;
    this.playhead.style.transform = `translateX(${x.toFixed(1)}px)`;
    const spoken = `${clock(position / sampleRate)} of ${clock(length / sampleRate)}`;
    if (spoken === this.spoken) return;
    this.spoken = spoken;
    this.canvas.setAttribute("aria-valuemax", (length / sampleRate).toFixed(1));
    this.canvas.setAttribute("aria-valuenow", (position / sampleRate).toFixed(1));
    this.canvas.setAttribute("aria-valuetext", spoken);
  }

  draw() {
    if (!this.session?.versions) return;
    this.drawWave();
    this.drawTrace();
  }

  drawWave() {
    const { session } = this;
    const { pen, width, height } = prepare(this.canvas);
    const middle = (height - 14) / 2;
    const { version } = session;
    const hidden = session.hidden;
    const shown = hidden ? session.versions[0] : version;
    const peaks = shown.peaks ?? session.versions[0].peaks;
    const gain = 10 ** (session.gainDb(shown) / 20);
    const loop = this.drag?.loop ?? session.loop;
    if (loop) {
      const [from, to] = loop.map((s) => (s / session.length) * width);
      pen.fillStyle = colour("loop");
      pen.fillRect(from, 0, to - from, height - 14);
      for (const x of [from, to]) line(pen, [[x, 0], [x, height - 14]], { stroke: colour("accent"), width: 1.5 });
    }
    line(pen, [[0, middle], [width, middle]], { stroke: colour("grid") });
    if (peaks) {
      pen.fillStyle = hidden ? colour("version-0") : colour(`version-${session.selected % 8}`);
      const bars = Math.floor(width / 2);
      for (let i = 0; i < bars; i++) {
        let peak = 0;
        const stop = Math.floor(((i + 1) * peaks.length) / bars);
        for (let k = Math.floor((i * peaks.length) / bars); k < stop; k++) peak = Math.max(peak, peaks[k]);
        const size = Math.max(Math.min(peak * gain, 1) * (middle - 1), 0.5);
        pen.fillRect((i * width) / bars, middle - size, 1.4, 2 * size);
      }
    }
    const seconds = session.length / session.sampleRate;
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120].find((s) => (s / seconds) * width > 64) ?? 300;
    for (let t = 0; t < seconds; t += step) {
      const x = (t / seconds) * width;
      if (x > width - 30) break;
      line(pen, [[x + 0.5, height - 14], [x + 0.5, height - 10]], { stroke: colour("muted") });
      word(pen, clock(t).replace(/\.0$/, ""), x + 4, height - 6);
    }
  }

  drawTrace() {
    const { session } = this;
    const { pen, width, height } = prepare(this.trace);
    const { version } = session;
    const reduction = session.hidden ? null : version.reduction;
    line(pen, [[0, 0.5], [width, 0.5]], { stroke: colour("grid") });
    if (!reduction) {
      let text = "not known for this version";
      if (version.kind === "preset") text = version.peaks ? "the compressor is off" : "rendering…";
      if (session.hidden) text = "hidden during the test";
      this.note.textContent = `Gain reduction: ${text}`;
      return;
    }
    let lowest = 0;
    for (const value of reduction) lowest = Math.min(lowest, value);
    const range = REDUCTION_STEPS_DB.find((s) => s >= -lowest) ?? 48;
    const points = [];
    for (let x = 0; x <= width; x += 1) {
      const from = Math.floor(((x / width) * session.length) / TRACE_SAMPLES);
      const to = Math.max(from + 1, Math.floor((((x + 1) / width) * session.length) / TRACE_SAMPLES));
      let value = 0;
      for (let i = from; i < Math.min(to, reduction.length); i++) value = Math.min(value, reduction[i]);
      points.push([x, 1 + (-value / range) * (height - 3)]);
    }
    area(pen, points, 0.5, colour("reduction"), 0.25);
    line(pen, points, { stroke: colour("reduction"), width: 1.2 });
    this.note.textContent = `Gain reduction, scale 0 to −${range} dB; at most ${number(-lowest)} dB`;
  }
}
