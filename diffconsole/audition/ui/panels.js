/**
 * The panels of the strip, in the order of the chain: inserts and sends each have their own, with
 * the gains and the pan together in the last. Panels with more than fields, bands and a curve are
 * listed here; all others are made from the table alone.
 */
import { ownOf, titleOf } from "../chain.js";
import { EQ_BANDS } from "../../modules/equalizer/equalizer.js";
import { MODULES } from "../modules.js";
import { number } from "./canvas.js";
import { drawCompressor, drawReverb } from "./curves.js";
import { EqPanel } from "./eq_panel.js";
import { drawCurve } from "./general_curve.js";

const BAND_HEADS = [["", ""], ["Band", ""], ["Frequency", "number"], ["Gain", "number"], ["Q", "number"]];
const MOST_IN_A_ROW = 2;

/** An element with attributes and what is in it. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const canvasOf = (key, label) =>
  element("canvas", { id: `${key}-curve`, class: "curve", role: "img", "aria-label": label });

/**
 * The fields and switches that the panels are made of.
 *
 * @typedef {object} Controls
 * @property {object[]} table parameters
 * @property {function(object, HTMLElement, boolean=): object} addField
 * @property {function(string, HTMLElement, HTMLElement[]): void} addSwitch
 * @property {object} eqActions of {@link EqPanel}
 */

function fieldsOf(section, { table, addField }) {
  const box = element("div", { class: "fields" });
  for (const parameter of table) if (parameter.section === section) addField(parameter, box);
  return box;
}

/** A title with its switch and what belongs to both. */
function titled(section, tag, box, controls, ...children) {
  const place = element("span", { class: "place" });
  box.append(element(tag, tag === "h3" ? { id: `${section}-title` } : {}, titleOf(section)), place, ...children);
  controls.addSwitch(section, place, [box]);
  return box;
}

function panel(key, controls, kind, ...children) {
  const box = element("section", { class: `module ${kind}`.trim(), "aria-labelledby": `${key}-title` });
  return titled(key, "h3", box, controls, ...children);
}

/* --- panels with more than fields ------------------------------------------------------------ */

function bandsOf({ table, addField, addSwitch }) {
  const byKey = Object.fromEntries(table.map((p) => [p.key, p]));
  const bands = element("div", { id: "bands", class: "bands" });
  for (const [text, name] of BAND_HEADS) bands.append(element("span", { class: `head ${name}` }, text));
  for (const band of EQ_BANDS) {
    const section = `eq.${band}`;
    const name = element("span", { class: "band-name" }, titleOf(section));
    const dimmed = [name];
    const notes = [];
    const hold = element("span", { class: "hold" });
    bands.append(hold, name);
    for (const part of ["freq_hz", "gain_db", "q"]) {
      const parameter = byKey[`${section}.${part}`];
      if (!parameter) {
        bands.append(element("span"));
        continue;
      }
      const { element: field, note } = addField(parameter, bands, true);
      dimmed.push(field);
      notes.push(note);
    }
    // In a row of their own, where they cover no other field.
    bands.append(...notes);
    addSwitch(section, hold, dimmed);
  }
  return bands;
}

function eqPanel({ key }, controls) {
  const box = element("div", { id: "eq-box", class: "eq-box" }, element("canvas", { "aria-hidden": "true" }));
  const eq = new EqPanel(box, Object.fromEntries(controls.table.map((p) => [p.key, p])), controls.eqActions);
  return {
    element: panel(key, controls, "eq", box, bandsOf(controls)),
    draw: (_, sampleRate) => eq.draw(sampleRate),
  };
}

function compressorPanel({ key, title }, controls) {
  const canvas = canvasOf(key, `${title} curve, output over input level`);
  const output = element("output", { id: `${key}-reduction`, "aria-live": "off" }, "0.0 dB");
  const readout = element("p", { class: "readout" }, "Gain reduction now ", output);
  return {
    key,
    element: panel(key, controls, "", canvas, readout, fieldsOf(key, controls)),
    meter(strip, { levelDb, reduction }) {
      drawCompressor(canvas, key, strip, levelDb);
      output.textContent = `${number(reduction)} dB`;
    },
  };
}

function reverbPanel({ key }, controls) {
  const canvas = canvasOf(key, "Reverb decay, level over time");
  const readout = element("p", { class: "readout" }, "Level over seconds after the dry sound");
  return {
    element: panel(key, controls, "", canvas, readout, fieldsOf(key, controls)),
    draw: (strip) => drawReverb(canvas, strip),
  };
}

const SPECIAL = { eq: eqPanel, compressor: compressorPanel, compressor_2: compressorPanel, reverb: reverbPanel };

/* --- all others ------------------------------------------------------------------------------ */

function bandOf(section, controls) {
  return titled(section, "h4", element("div", { class: "level" }), controls, fieldsOf(section, controls));
}

function generalPanel(module, controls) {
  const { key, title, bands, curve } = module;
  const canvas = curve ? canvasOf(key, `${title} curve`) : null;
  const parts = canvas ? [canvas] : [];
  if (!module.make) parts.push(element("p", { class: "readout" }, `This page plays without the ${title}.`));
  parts.push(fieldsOf(key, controls), ...bands.map((band) => bandOf(`${key}.${band}`, controls)));
  return {
    element: panel(key, controls, "", ...parts),
    draw(strip, sampleRate) {
      if (!canvas) return;
      const { settings, isOn } = ownOf(module, strip);
      drawCurve(canvas, isOn() ? curve(sampleRate, settings, isOn) : null);
    },
  };
}

/**
 * Build all panels.
 *
 * @param {HTMLElement} target gets them
 * @param {Controls} controls
 * @returns {object[]} with `draw(strip, sampleRate)` and `meter(strip, {levelDb, reduction})`, by the
 *   `key` of their module, where there is something to draw
 */
export function buildPanels(target, controls) {
  const own = MODULES.filter(({ place }) => place === "insert" || place === "send");
  const panels = own.map((module) => (SPECIAL[module.key] ?? generalPanel)(module, controls));
  const levels = element(
    "section", { class: "module levels", "aria-labelledby": "levels-title" }, element("h3", { id: "levels-title" }, "Levels"),
  );
  for (const module of MODULES) if (!own.includes(module)) levels.append(bandOf(module.key, controls));
  levels.append(element("p", { class: "hint" },
    "Edits are heard at once. Their loudness is estimated around the playhead; once you stop editing, the version is rendered and measured."));
  target.append(...panels.map((made) => made.element), levels);
  target.classList.toggle("many", panels.length - 1 > MOST_IN_A_ROW);
  return panels;
}
