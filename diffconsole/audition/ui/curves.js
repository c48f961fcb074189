/** A compressor's curve with the live level, and the reverb's decay. */
import { mixedDb, reductionDb } from "../../modules/compressor/compressor.js";
import { isOff } from "../preset.js";
import { bandDecays } from "../../modules/reverb/reverb.js";
import { BAND_CENTRES_HZ } from "../../modules/reverb/noise.js";
import { area, colour, line, number, prepare, word } from "./canvas.js";

const LOWEST_DB = -60;
const MARGIN = { left: 30, right: 8, top: 8, bottom: 20 };

/**
 * Draw output over input level, before makeup, with a dot where the level is now.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {string} key of the compressor
 * @param {{settings: object, off: Set<string>}} heard
 * @param {?number} levelDb of the detector, dBFS
 */
export function drawCompressor(canvas, key, { settings, off }, levelDb) {
  const { pen, width, height } = prepare(canvas);
  const plot = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const x = (db) => MARGIN.left + (1 - db / LOWEST_DB) * plot.width;
  const y = (db) => MARGIN.top + (db / LOWEST_DB) * plot.height;
  for (let db = LOWEST_DB; db <= 0; db += 20) {
    line(pen, [[x(db), y(0)], [x(db), y(LOWEST_DB)]], { stroke: colour("grid") });
    line(pen, [[x(LOWEST_DB), y(db)], [x(0), y(db)]], { stroke: colour("grid") });
    word(pen, number(db, 0), x(db), height - 8, { align: db === 0 ? "right" : db === LOWEST_DB ? "left" : "center" });
    word(pen, number(db, 0), MARGIN.left - 5, y(db), { align: "right" });
  }
  line(pen, [[x(LOWEST_DB), y(LOWEST_DB)], [x(0), y(0)]], { stroke: colour("muted"), dash: [4, 4] });
  if (isOff(off, key)) {
    word(pen, "off", x(-30), y(-20), { align: "center" });
    return;
  }
  const names = ["threshold_db", "ratio", "knee_db", "makeup_db", "mix"];
  const [threshold, ratio, knee, makeup, mix] = names.map((name) => settings[`${key}.${name}`]);
  const output = (db) => db + mixedDb(reductionDb(db, threshold, 1 / ratio - 1, knee), { makeup, mix: mix / 100 });
  const points = [];
  for (let db = LOWEST_DB; db <= 0; db += 0.5) points.push([x(db), y(output(db))]);
  line(pen, points, { stroke: colour("accent"), width: 2.25 });
  line(pen, [[x(threshold), y(LOWEST_DB)], [x(threshold), y(output(threshold))]], { stroke: colour("muted"), dash: [2, 3] });
  if (levelDb !== null && levelDb > LOWEST_DB) {
    const db = Math.min(levelDb, 0);
    pen.fillStyle = colour("reduction");
    pen.beginPath();
    pen.arc(x(db), y(output(db)), 5, 0, 2 * Math.PI);
    pen.fill();
  }
}

/**
 * Draw how the return falls: level against the dry signal, strong at 1 kHz, faint at 250 Hz (dashed)
 * and 8 kHz (dotted).
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{settings: object, off: Set<string>}} heard
 */
export function drawReverb(canvas, { settings, off }) {
  const { pen, width, height } = prepare(canvas);
  const plot = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const room = Object.fromEntries(["decay_s", "low_ratio", "high_ratio"].map((n) => [n, settings[`reverb.${n}`]]));
  const t60 = bandDecays(room);
  const start = settings["reverb.pre_delay_ms"] / 1000;
  const longest = Math.max(...t60) + start;
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].find((s) => longest / s <= 6) ?? 10;
  const end = Math.ceil((longest * 1.02) / step) * step;
  const x = (s) => MARGIN.left + (s / end) * plot.width;
  const y = (db) => MARGIN.top + ((6 - db) / 66) * plot.height;
  for (let s = 0; s <= end + 1e-9; s += step) {
    line(pen, [[x(s), y(6)], [x(s), y(-60)]], { stroke: colour("grid") });
    word(pen, `${Number(s.toFixed(2))}`, x(s), height - 8, { align: s === 0 ? "left" : s + step > end ? "right" : "center" });
  }
  for (const db of [0, -20, -40, -60]) {
    line(pen, [[x(0), y(db)], [x(end), y(db)]], { stroke: colour("grid") });
    word(pen, number(db, 0), MARGIN.left - 5, y(db), { align: "right" });
  }
  if (isOff(off, "reverb")) {
    word(pen, "off", x(end / 2), y(-25), { align: "center" });
    return;
  }
  const wet = settings["reverb.wet_db"];
  pen.save();
  pen.beginPath();
  pen.rect(MARGIN.left, MARGIN.top, plot.width, plot.height);
  pen.clip();
  for (const [centre, dash, strong] of [[250, [5, 4], false], [8000, [2, 3], false], [1000, [], true]]) {
    const decay = t60[BAND_CENTRES_HZ.indexOf(centre)];
    const points = [[x(start), y(-60)], [x(start), y(wet)], [x(start + decay), y(wet - 60)]];
    if (strong) area(pen, points, y(-60), colour("accent"), 0.1);
    line(pen, points, { stroke: colour("accent"), width: strong ? 2.25 : 1.4, dash, alpha: strong ? 1 : 0.75 });
  }
  pen.restore();
  const keys = [["1 kHz", []], ["250 Hz", [5, 4]], ["8 kHz", [2, 3]]];
  keys.forEach(([text, dash], i) => {
    const at = [width - 74, MARGIN.top + 8 + 14 * i];
    line(pen, [[at[0], at[1]], [at[0] + 20, at[1]]], { stroke: colour("accent"), width: i ? 1.4 : 2.25, dash });
    word(pen, text, at[0] + 26, at[1]);
  });
}
