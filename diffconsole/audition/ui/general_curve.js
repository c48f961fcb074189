/** The curve of any module, from the points that its twin computes. */
import { colour, line, number, prepare, word } from "./canvas.js";

const MARGIN = { left: 34, right: 10, top: 14, bottom: 20 };
const MOST_TICKS = 5;

/** Round numbers within a range. */
function ticksOf(low, high, isLog) {
  const found = [];
  if (isLog) {
    for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10) {
      for (const digit of [1, 2, 5]) if (digit * decade >= low && digit * decade <= high) found.push(digit * decade);
    }
    return found.length > 2 * MOST_TICKS ? found.filter((_, i) => i % 3 === 0) : found;
  }
  const rough = Math.max(high - low, 1e-9) / MOST_TICKS;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * size).find((s) => s >= rough);
  for (let i = Math.ceil(low / step); i * step <= high + step / 1e6; i++) found.push(i * step);
  return found;
}

const short = (value) =>
  Math.abs(value) >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : number(value, Number.isInteger(value) ? 0 : 1);

/**
 * Draw lines over an axis, the first one strongly.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {?{xLabel: string, yLabel: string, x: number[], lines: Object<string, number[]>,
 *   isLog: boolean}} curve null where the module is off
 */
export function drawCurve(canvas, curve) {
  const { pen, width, height } = prepare(canvas);
  if (!curve) {
    word(pen, "off", width / 2, height / 2, { align: "center" });
    return;
  }
  const { xLabel, yLabel, x: xs, lines, isLog } = curve;
  const all = Object.values(lines).flat();
  const middle = (Math.min(...all) + Math.max(...all)) / 2;
  const half = Math.max((Math.max(...all) - Math.min(...all)) / 2, 1) * 1.15;
  const [left, right] = [xs[0], xs[xs.length - 1]];
  const along = isLog ? (v) => Math.log(v / left) / Math.log(right / left) : (v) => (v - left) / (right - left);
  const x = (v) => MARGIN.left + along(v) * (width - MARGIN.left - MARGIN.right);
  const y = (v) => MARGIN.top + ((middle + half - v) / (2 * half)) * (height - MARGIN.top - MARGIN.bottom);
  for (const tick of ticksOf(left, right, isLog)) {
    line(pen, [[x(tick), MARGIN.top], [x(tick), height - MARGIN.bottom]], { stroke: colour("grid") });
    word(pen, short(tick), x(tick), height - 8, { align: "center" });
  }
  for (const tick of ticksOf(middle - half, middle + half, false)) {
    line(pen, [[MARGIN.left, y(tick)], [width - MARGIN.right, y(tick)]], { stroke: colour(tick === 0 ? "axis" : "grid") });
    word(pen, short(tick), MARGIN.left - 5, y(tick), { align: "right" });
  }
  word(pen, yLabel, 2, 6);
  word(pen, xLabel, width - 2, 6, { align: "right" });
  Object.values(lines).forEach((values, i) => {
    const points = xs.map((v, k) => [x(v), y(values[k])]);
    line(pen, points, { stroke: colour("accent"), width: i ? 1.4 : 2.25, alpha: i ? 0.75 : 1, dash: i ? [5, 4] : [] });
  });
}
