/** The EQ: the curve of the coefficients, and a handle for every band. */
import { EQ_BANDS, coefficients, gainDb } from "../../modules/equalizer/equalizer.js";
import { titleOf } from "../chain.js";
import { isOff } from "../preset.js";
import { area, colour, hertz, line, number, prepare, word } from "./canvas.js";
import { stepped } from "./fields.js";

const LOWEST_HZ = 20;
const HIGHEST_HZ = 20000;
const TICKS_HZ = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
const MARGIN = { left: 30, right: 10, top: 10, bottom: 20 };
const POINTS = 400;
const SHORT = ["HP", "LS", "1", "2", "3", "4", "HS", "LP"];
const STEPS_DB = [12, 18, 24];

export class EqPanel {
  /**
   * @param {HTMLElement} box holds the canvas and gets the handles
   * @param {object} table parameters by key
   * @param {object} actions heard() → {settings, off}, own() → {settings, off}, set(values by key)
   */
  constructor(box, table, actions) {
    Object.assign(this, { box, table, actions });
    this.canvas = box.querySelector("canvas");
    this.extent = STEPS_DB[0];
    this.handles = EQ_BANDS.map((band, i) => this.makeHandle(band, i));
  }

  makeHandle(band, i) {
    const handle = document.createElement("button");
    handle.type = "button";
    handle.className = "handle";
    handle.dataset.band = band;
    handle.textContent = SHORT[i];
    handle.setAttribute("role", "slider");
    const own = (name) => this.table[`eq.${band}.${name}`];
    const set = (name, value) => own(name) && this.actions.set({ [own(name).key]: value });
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.dataset.dragging = "1";
      event.preventDefault();
      handle.focus();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.dataset.dragging) return;
      const place = this.canvas.getBoundingClientRect();
      const values = { [own("freq_hz").key]: this.hertzAt(event.clientX - place.left) };
      if (own("gain_db")) values[own("gain_db").key] = this.decibelsAt(event.clientY - place.top);
      this.actions.set(values);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      handle.addEventListener(name, () => delete handle.dataset.dragging);
    }
    handle.addEventListener("wheel", (event) => {
      event.preventDefault();
      set("q", stepped(own("q"), this.actions.own().settings[own("q").key], -Math.sign(event.deltaY), true));
    }, { passive: false });
    handle.addEventListener("keydown", (event) => {
      const moves = {
        ArrowLeft: ["freq_hz", -1], ArrowRight: ["freq_hz", 1], ArrowDown: ["gain_db", -1],
        ArrowUp: ["gain_db", 1], PageDown: ["q", -1], PageUp: ["q", 1],
      };
      const [name, direction] = moves[event.key] ?? [];
      if (!name) return;
      event.preventDefault();
      event.stopPropagation();
      if (!own(name)) return;
      const value = this.actions.own().settings[own(name).key];
      const coarse = name === "q" || event.shiftKey;
      set(name, name === "gain_db" ? value + direction * (event.shiftKey ? 1 : 0.2) : stepped(own(name), value, direction, coarse));
    });
    this.box.append(handle);
    return handle;
  }

  get plot() {
    const { width, height } = this.canvas.getBoundingClientRect();
    return { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  }

  x(freqHz) {
    return MARGIN.left + (Math.log(freqHz / LOWEST_HZ) / Math.log(HIGHEST_HZ / LOWEST_HZ)) * this.plot.width;
  }

  y(db) {
    return MARGIN.top + ((this.extent - db) / (2 * this.extent)) * this.plot.height;
  }

  hertzAt(x) {
    return LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** ((x - MARGIN.left) / this.plot.width);
  }

  decibelsAt(y) {
    return this.extent - ((y - MARGIN.top) / this.plot.height) * 2 * this.extent;
  }

  /** Draw at a sample rate. @param {number} sampleRate Hz */
  draw(sampleRate) {
    const { settings, off } = this.actions.heard();
    const top = Math.min(HIGHEST_HZ, 0.4999 * sampleRate);
    const freqs = Array.from({ length: POINTS }, (_, i) => LOWEST_HZ * (top / LOWEST_HZ) ** (i / (POINTS - 1)));
    const curves = EQ_BANDS.map((band) => {
      if (isOff(off, `eq.${band}`)) return null;
      const [freq, gain, q] = ["freq_hz", "gain_db", "q"].map((n) => settings[`eq.${band}.${n}`]);
      const c = coefficients(band, sampleRate, freq, gain ?? 0, q);
      return freqs.map((f) => gainDb(c, sampleRate, f));
    });
    const sum = freqs.map((_, i) => curves.reduce((total, curve) => total + (curve ? curve[i] : 0), 0));
    const most = Math.max(...sum, ...this.own().map((gain) => Math.abs(gain)));
    const dragging = this.handles.some((handle) => handle.dataset.dragging);
    if (!dragging) this.extent = STEPS_DB.find((s) => s > most + 1) ?? 36;
    const { pen, width, height } = prepare(this.canvas);
    this.drawGrid(pen, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left, MARGIN.top, this.plot.width, this.plot.height);
    pen.clip();
    const points = (curve) => freqs.map((f, i) => [this.x(f), this.y(curve[i])]);
    for (const curve of curves) {
      if (!curve || Math.max(...curve.map(Math.abs)) < 0.05) continue;
      area(pen, points(curve), this.y(0), colour("accent"), 0.07);
      line(pen, points(curve), { stroke: colour("accent"), alpha: 0.35 });
    }
    const on = curves.some(Boolean);
    line(pen, points(sum), { stroke: colour(on ? "accent" : "muted"), width: 2.25 });
    pen.restore();
    this.place(sampleRate);
  }

  own() {
    const { settings, off } = this.actions.own();
    return EQ_BANDS.filter((b) => !isOff(off, `eq.${b}`)).map((b) => settings[`eq.${b}.gain_db`] ?? 0);
  }

  drawGrid(pen, width, height) {
    const [stroke, strong] = [colour("grid"), colour("axis")];
    const step = this.extent / (this.extent > 12 ? 3 : 2);
    for (let db = -this.extent; db <= this.extent + 1e-9; db += step) {
      const y = this.y(db);
      line(pen, [[MARGIN.left, y], [width - MARGIN.right, y]], { stroke: Math.abs(db) < 1e-9 ? strong : stroke });
      word(pen, db > 0 ? `+${number(db, 0)}` : number(db, 0), MARGIN.left - 5, y, { align: "right" });
    }
    for (const freq of TICKS_HZ) {
      const x = this.x(freq);
      line(pen, [[x, MARGIN.top], [x, height - MARGIN.bottom]], { stroke });
      if (width < 460 && [50, 200, 500, 2000, 5000, 10000].includes(freq)) continue;
      const text = freq < 1000 ? String(freq) : `${freq / 1000}k`;
      const align = freq === HIGHEST_HZ ? "right" : freq === LOWEST_HZ ? "left" : "center";
      word(pen, text, x, height - 8, { align });
    }
  }

  /** Put the handles where the bands are; the strip's own settings, not the amount's. */
  place() {
    const { settings, off } = this.actions.own();
    const { width, height } = this.canvas.getBoundingClientRect();
    this.handles.forEach((handle, i) => {
      const band = EQ_BANDS[i];
      const [freq, gain, q] = ["freq_hz", "gain_db", "q"].map((n) => settings[`eq.${band}.${n}`]);
      const isOn = !isOff(off, `eq.${band}`);
      handle.hidden = !isOn;
      handle.style.left = `${Math.min(Math.max(this.x(freq), MARGIN.left), width - MARGIN.right)}px`;
      handle.style.top = `${Math.min(Math.max(this.y(gain ?? 0), MARGIN.top), height - MARGIN.bottom)}px`;
      const words = [hertz(freq), gain === undefined ? "" : `${number(gain)} dB`, `Q ${number(q, 2)}`];
      handle.setAttribute("aria-label", `${titleOf(`eq.${band}`)} in the EQ curve`);
      handle.setAttribute("aria-valuetext", words.filter(Boolean).join(", "));
      handle.setAttribute("aria-valuemin", this.table[`eq.${band}.freq_hz`].low);
      handle.setAttribute("aria-valuemax", this.table[`eq.${band}.freq_hz`].high);
      handle.setAttribute("aria-valuenow", freq);
      handle.title = `${titleOf(band)}: ${words.filter(Boolean).join(", ")}`;
    });
  }
}
