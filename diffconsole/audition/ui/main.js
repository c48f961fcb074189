/** The page: builds the controls, and brings keys, session and drawings together. */
import { bypassOf, setEnabled, setValue, settingsOf } from "../preset.js";
import { AbxTest } from "./abx.js";
import { clock, number } from "./canvas.js";
import { downloadAudio, downloadPreset } from "./downloads.js";
import { bindNumber, makeField, makeSwitch } from "./fields.js";
import { bindKeys } from "./keys.js";
import { buildPanels } from "./panels.js";
import { Player, Renderer } from "./player.js";
import { Session } from "./session.js";
import { Waveform } from "./waveform.js";

const page = JSON.parse(document.getElementById("page-data").textContent);
const byId = (id) => document.getElementById(id);
const tableByKey = Object.fromEntries(page.table.map((p) => [p.key, p]));
const bars = [];
const CLIP_SHOWN_MS = 1500;
let report = { position: 0, playing: false, meters: {}, peak: 0 };
let wanted = false;
let drawn = "";
let clipped = 0;
let problem = "";

const player = new Player((found) => {
  // A report from before the last move knows nothing of where that leads.
  report = found.isCurrent ? found : { ...found, position: report.position, playing: report.playing };
  if (found.peak > 1) clipped = performance.now();
  if (found.isCurrent && !found.playing && wanted) setPlaying(false);
  schedule();
});
const session = new Session(page, player, new Renderer(), (all = true) => schedule(all));
session.playhead = () => report.position;

/* --- actions --------------------------------------------------------------------------------- */

let attempt = 0;

async function setPlaying(playing) {
  wanted = playing;
  attempt += 1;
  const own = attempt;
  refreshTransport();
  if (!playing) {
    player.move("play", [false]);
    return;
  }
  // From here on a report of standing still is one from before.
  player.mark += 1;
  try {
    await player.start();
    if (own !== attempt) return;
    problem = "";
    player.move("play", [true]);
  } catch (error) {
    if (own !== attempt) return;
    wanted = false;
    problem = `Nothing can be played: ${error.message}.`;
    schedule(true);
  }
}

const actions = {
  toggle: () => setPlaying(!wanted),
  select: (i) => session.select(i),
  seek(position) {
    const to = Math.min(Math.max(position, 0), session.length);
    report.position = to;
    player.move("seek", [to]);
    schedule();
  },
  seekBy: (seconds) => actions.seek(report.position + seconds * session.sampleRate),
  toStart: () => actions.seek(session.loop ? session.loop[0] : 0),
  setLoop(loop) {
    session.setLoop(loop);
    if (loop && (report.position < loop[0] || report.position >= loop[1])) report.position = loop[0];
  },
  toggleLoop() {
    if (session.loop) session.lastLoop = session.loop;
    actions.setLoop(session.loop ? null : (session.lastLoop ?? [0, session.length]));
  },
  loopEdge(edge) {
    const loop = [...(session.loop ?? [0, session.length])];
    loop[edge] = Math.round(report.position);
    if (loop[1] - loop[0] < 0.05 * session.sampleRate) loop[1 - edge] = edge ? 0 : session.length;
    actions.setLoop(loop);
  },
  toggleMatching: () => session.setMatching(!session.matching),
  openAbx() {
    if (byId("abx").disabled) return;
    abx.open();
    if (!wanted) setPlaying(true);
  },
  openHelp: () => byId("help-dialog").showModal(),
};

/** Change settings of the shown strip. @param {Object<string, number>} values by key */
function setSettings(values) {
  for (const [key, value] of Object.entries(values)) setValue(session.shown.strip, tableByKey[key], value);
  session.changed();
}

const own = () => ({
  settings: settingsOf(session.shown.strip, page.table),
  off: bypassOf(session.shown.strip, page.switches),
});

/* --- controls -------------------------------------------------------------------------------- */

function addSwitch(section, target, dimmed) {
  const made = makeSwitch(section, {
    read: () => !own().off.has(section),
    write: (on) => {
      setEnabled(session.shown.strip, section, on);
      session.changed();
    },
  });
  target.append(made.element);
  bars.push(() => {
    made.refresh();
    for (const element of dimmed) element.classList.toggle("is-off", own().off.has(section));
  });
}

function addField(parameter, target, short = false) {
  const made = makeField(parameter, {
    short,
    read: () => own().settings[parameter.key],
    write: (value) => setSettings({ [parameter.key]: value }),
  });
  if (short && !parameter.unit) made.element.classList.add("bare");
  target.append(made.element);
  bars.push(made.refresh);
  return made;
}

const panels = buildPanels(byId("modules"), {
  table: page.table,
  addField,
  addSwitch,
  eqActions: { own, heard: () => session.heard(session.lastPreset), set: setSettings },
});

function buildVersions() {
  const group = byId("versions");
  group.replaceChildren();
  session.versions.forEach((version, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "version";
    button.setAttribute("role", "radio");
    button.style.setProperty("--own", `var(--version-${i % 8})`);
    for (const [name, text] of [["key", String(i + 1)], ["name", version.name], ["loudness", ""]]) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      button.append(part);
    }
    button.addEventListener("click", () => session.select(i));
    group.append(button);
  });
}

/* --- drawing --------------------------------------------------------------------------------- */

let waiting = false;
let everything = false;

/** Draw at the next frame: the playhead and meters, or everything. */
function schedule(all = false) {
  everything ||= all;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const whole = everything;
    everything = false;
    if (!session.versions) return;
    if (whole) refresh();
    refreshMeters();
  });
}

/** Change a text only where it is another: a screen reader repeats what is written again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function refreshTransport() {
  byId("play").textContent = wanted ? "Pause" : "Play";
  byId("loop").setAttribute("aria-pressed", String(Boolean(session.loop)));
  byId("match").setAttribute("aria-pressed", String(session.matching));
}

function refresh() {
  refreshTransport();
  const { vocal, sampleRate } = session;
  const channels = vocal.channels === 1 ? "mono" : "stereo";
  const matched = session.matching ? `all at ${number(session.targetLufs)} LUFS` : "levels as rendered";
  byId("facts").textContent =
    `${sampleRate / 1000} kHz, ${channels}, ${clock(vocal.samples / sampleRate)}; ${matched}`;
  [...byId("versions").children].forEach((button, i) => {
    const version = session.versions[i];
    button.setAttribute("aria-checked", String(i === session.selected));
    button.tabIndex = i === session.selected ? 0 : -1;
    button.querySelector(".name").textContent = version.edited ? `${version.name} (edited)` : version.name;
    const about = version.isEstimate ? "≈ " : "";
    const level = version.loudness === null ? "silent" : `${about}${number(version.loudness)} LUFS`;
    const gain = session.gainDb(version);
    const change = session.matching ? `, ${gain >= 0 ? "+" : ""}${number(gain)} dB` : "";
    button.querySelector(".loudness").textContent = level + change;
  });
  byId("strip").hidden = !session.shown;
  wave.draw();
  if (session.shown) refreshStrip();
}

function refreshStrip() {
  const { shown } = session;
  for (const update of bars) update();
  byId("strip-title").textContent = shown.edited ? `${shown.name} (edited)` : shown.name;
  const description = shown.provenance?.description;
  const text = typeof description === "string" ? description : "";
  const heard = session.version === shown ? "" : `You hear ${session.version.name}. `;
  byId("strip-note").textContent = heard + text;
  const percent = Math.round(shown.amount * 100);
  byId("amount").value = percent;
  refreshAmount();
  byId("reset").disabled = !shown.edited;
  const strip = session.heard(session.lastPreset);
  for (const panel of panels) panel.draw?.(strip, session.sampleRate);
  drawn = "";
}

const inDb = (level) => 20 * Math.log10(Math.max(level, 1e-6));

function refreshMeters() {
  const [[i, share] = []] = session.rendering;
  const note = share === undefined ? "" : `Rendering ${session.versions[i].name}: ${Math.round(100 * share)} %`;
  setText(byId("status"), [problem, ...session.problems.values()].filter(Boolean).join(" ") || note);
  wave.moveTo(report.position);
  const { sampleRate, length } = session;
  setText(byId("time"), `${clock(report.position / sampleRate)} / ${clock(length / sampleRate)}`);
  setText(byId("clip"), clipped && performance.now() - clipped < CLIP_SHOWN_MS ? "Over full scale" : "");
  if (!session.shown) return;
  const audible = !session.hidden && session.version === session.shown && report.playing;
  const shown = audible ? report.meters : {};
  const key = JSON.stringify(Object.values(shown).map(({ level }) => inDb(level).toFixed(1)));
  if (key === drawn) return;
  drawn = key;
  const strip = session.heard(session.lastPreset);
  for (const panel of panels) {
    const meter = shown[panel.key];
    panel.meter?.(strip, { levelDb: meter ? inDb(meter.level) : null, reduction: meter?.reduction ?? 0 });
  }
}

/* --- start ----------------------------------------------------------------------------------- */

const wave = new Waveform(byId("wave"), byId("trace"), byId("playhead"), byId("trace-note"), actions);
wave.session = session;
const abx = new AbxTest(byId("abx-dialog"), {
  versions: () => session.versions.map((version) => version.name),
  selected: () => session.selected,
  listen(index) {
    if (index !== null && !session.hidden) {
      session.hidden = true;
      session.wasMatching = session.matching;
      session.setMatching(true);
    }
    if (index === null && session.hidden) {
      session.hidden = false;
      session.setMatching(session.wasMatching);
    }
    player.call("select", [index ?? session.selected]);
    if (index !== null && !wanted) setPlaying(true);
    schedule(true);
  },
});

function setAmount(percent) {
  session.shown.amount = Math.min(Math.max(percent, 0), 150) / 100;
  session.changed();
}

const amountField = { key: "amount", unit: "%", low: 0, high: 150 };
const refreshAmount = bindNumber(byId("amount-number"), byId("amount-note"), amountField, {
  read: () => Math.round(100 * session.shown.amount),
  write: setAmount,
  shown: String,
  step: (value, direction, coarse) => value + direction * (coarse ? 10 : 1),
});

async function open(index) {
  setPlaying(false);
  byId("play").disabled = true;
  problem = "";
  report = { ...report, position: 0, playing: false };
  const opened = session.open(index);
  const { generation } = session;
  try {
    buildVersions();
    byId("title").textContent = page.vocals[index].name;
    byId("abx").disabled = session.versions.length < 2;
    schedule(true);
    session.opened = opened;
    opened.catch(() => {});
    if (!(await session.ready)) return;
    byId("play").disabled = false;
    schedule(true);
    await opened;
  } catch (error) {
    if (generation !== session.generation) return;
    problem = `This audio cannot be played here (${error.message}).`;
    schedule(true);
  }
}

byId("play").addEventListener("click", actions.toggle);
byId("match").addEventListener("click", actions.toggleMatching);
byId("loop").addEventListener("click", actions.toggleLoop);
byId("abx").addEventListener("click", actions.openAbx);
byId("help").addEventListener("click", actions.openHelp);
byId("reset").addEventListener("click", () => session.reset());
byId("download-preset").addEventListener("click", () => downloadPreset(session));
byId("download-audio").addEventListener("click", (event) => downloadAudio(session, event.currentTarget));
byId("amount").addEventListener("input", (event) => setAmount(Number(event.target.value)));
bindKeys(actions);
if (page.vocals.length > 1) {
  byId("vocal-choice").hidden = false;
  page.vocals.forEach((vocal, i) => byId("vocal").append(new Option(vocal.name, i)));
  byId("vocal").addEventListener("change", (event) => open(Number(event.target.value)));
}
new ResizeObserver(() => schedule(true)).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => schedule(true));
window.audition = { page, session, player, actions, report: () => report };
open(0);
