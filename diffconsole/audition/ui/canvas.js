/** Canvases: sharp at every pixel ratio, in the page's colours, with plain axes. */

/** The page's colour of that name. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * Prepare a canvas of its own size on the page.
 *
 * @param {HTMLCanvasElement} canvas
 * @returns {{pen: CanvasRenderingContext2D, width: number, height: number}} in CSS pixels
 */
export function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  pen.lineJoin = "round";
  return { pen, width, height };
}

/** A line through points. @param {Array<[number, number]>} points */
export function line(pen, points, { stroke, width = 1, dash = [], alpha = 1 }) {
  pen.save();
  pen.globalAlpha = alpha;
  pen.strokeStyle = stroke;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.beginPath();
  points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
  pen.restore();
}

/** Fill between points and a level. */
export function area(pen, points, base, fill, alpha) {
  if (points.length === 0) return;
  pen.save();
  pen.globalAlpha = alpha;
  pen.fillStyle = fill;
  pen.beginPath();
  pen.moveTo(points[0][0], base);
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.lineTo(points[points.length - 1][0], base);
  pen.fill();
  pen.restore();
}

/** Write a word. */
export function word(pen, text, x, y, { align = "left", baseline = "middle", fill = colour("muted") } = {}) {
  pen.fillStyle = fill;
  pen.textAlign = align;
  pen.textBaseline = baseline;
  pen.fillText(text, x, y);
}

/** A number for people, with a minus sign and at most so many digits behind the point. */
export function number(value, digits = 1) {
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? Math.abs(Number(text)).toFixed(digits) : text).replace("-", "−");
}

/** Frequency for people. */
export function hertz(value) {
  if (value < 999.5) return `${Number(value.toPrecision(3))} Hz`;
  return `${Number((value / 1000).toPrecision(3))} kHz`;
}

/** Time for people, `1:02.3`. */
export function clock(seconds) {
  const tenths = Math.floor(Math.max(seconds, 0) * 10 + 1e-6);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}
