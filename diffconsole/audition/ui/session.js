/**
 * A vocal with its versions: what is edited, what is rendered, what is heard, how loud.
 *
 * An edit goes to the live console at once. When no further one follows, the worker renders the
 * whole version and measures its loudness; then its buffer is heard again.
 */
import { consoleTarget } from "../console.js";
import { roomOf } from "../offline.js";
import { atAmount, bypassOf, isOff, settingsOf } from "../preset.js";
import { decodeAudio } from "./player.js";

const SETTLED_MS = 500;
const LOUDEST_TARGET_LUFS = -16;
const HEADROOM_DB = 1;
export const TRACE_SAMPLES = 512;
const PEAKS = 2400;

const amplitude = (db) => 10 ** (db / 20);

/** Largest magnitude in each part of a signal, for drawing. */
function peaksOf(channels, length) {
  const peaks = new Float32Array(PEAKS);
  for (const channel of channels) {
    for (let i = 0; i < PEAKS; i++) {
      const stop = Math.min(Math.floor(((i + 1) * length) / PEAKS), channel.length);
      let peak = peaks[i];
      for (let n = Math.floor((i * length) / PEAKS); n < stop; n++) {
        const size = Math.abs(channel[n]);
        if (size > peak) peak = size;
      }
      peaks[i] = peak;
    }
  }
  return peaks;
}

export class Session {
  /**
   * @param {object} page the page's data: table, switches, vocals
   * @param {import("./player.js").Player} player
   * @param {import("./player.js").Renderer} renderer
   * @param {function(boolean=): void} onChange called when something is to be drawn anew; with false
   *   only what moves
   */
  constructor(page, player, renderer, onChange) {
    Object.assign(this, { page, player, renderer, onChange });
    this.matching = true;
    this.selected = 0;
    this.rendering = new Map();
  }

  /** Open a vocal: its raw, which resolves `ready`, then the mix; presets render behind it. */
  open(index) {
    this.ready = this.begin(index);
    return this.ready.then(() => this.finish());
  }

  async begin(index) {
    const vocal = this.page.vocals[index];
    this.index = index;
    this.vocal = vocal;
    this.sampleRate = vocal.sampleRate;
    this.loop = null;
    this.lastLoop = null;
    this.rooms = new Map();
    this.rendering = new Map();
    this.versions = vocal.versions.map((version) => ({
      ...version,
      amount: 1,
      edited: false,
      original: version.strip,
      strip: version.strip && structuredClone(version.strip),
      peaks: null,
      reduction: null,
      revision: 0,
    }));
    this.selected = Math.min(this.selected, this.versions.length - 1);
    this.lastPreset = this.versions.findIndex((v) => v.kind === "preset");
    this.length = vocal.samples + vocal.tailSamples;
    this.player.open(vocal.sampleRate);
    const raw = await decodeAudio(vocal.audio, vocal.sampleRate, vocal.channels);
    this.versions[0].peaks = peaksOf(raw, this.length);
    this.renderer.vocal(index, raw, vocal.sampleRate);
    this.player.call("load", [raw, this.versions.length, this.length]);
    this.player.call("setBuffer", [0, raw]);
    this.versions.forEach((version, i) => {
      if (version.kind === "preset") this.sendStrip(i);
    });
    this.sendLevels(true);
    this.select(this.selected);
  }

  async finish() {
    for (const [i, version] of this.versions.entries()) {
      if (version.kind === "mix") await this.openMix(i, version);
    }
    for (const [i, version] of this.versions.entries()) {
      if (version.kind === "preset") this.render(i);
    }
  }

  async openMix(i, version) {
    const channels = await decodeAudio(version.audio, this.sampleRate, version.channels);
    version.peaks = peaksOf(channels, this.length);
    this.player.call("setBuffer", [i, channels], channels.map((c) => c.buffer));
    this.onChange();
  }

  get version() {
    return this.versions[this.selected];
  }

  /** The preset whose strip is shown: the one heard, or the one heard last. */
  get shown() {
    return this.versions[this.lastPreset];
  }

  select(i) {
    if (!this.versions[i]) return;
    this.selected = i;
    if (this.version.kind === "preset") this.lastPreset = i;
    this.player.call("select", [i]);
    this.onChange();
  }

  /** Settings and what is off, at the version's amount: what is heard and downloaded. */
  heard(i) {
    const { table, switches } = this.page;
    const version = this.versions[i];
    const strip = atAmount(version.strip, version.amount, table, switches);
    return { strip, settings: settingsOf(strip, table), off: bypassOf(strip, switches) };
  }

  /** Tell the live console; the room only where it changed. */
  sendStrip(i) {
    const { settings, off } = this.heard(i);
    this.player.call("setStrip", [i, consoleTarget(settings, off)]);
    if (!off.has("reverb")) this.sendRoom(i, roomOf(settings));
  }

  async sendRoom(i, room) {
    // The level is no part of the response.
    const wanted = JSON.stringify({ ...room, wet_db: 0 });
    const state = this.rooms.get(i) ?? { made: "", wanted: "", busy: false };
    this.rooms.set(i, state);
    state.wanted = wanted;
    if (state.busy) return;
    const rooms = this.rooms;
    state.busy = true;
    while (state.made !== state.wanted && rooms === this.rooms) {
      state.made = state.wanted;
      const message = { type: "room", sampleRate: this.sampleRate, room: JSON.parse(state.made) };
      const { levels } = await this.renderer.run(message);
      if (rooms === this.rooms) this.player.call("setRoom", [i, levels]);
    }
    state.busy = false;
  }

  /** After a change of the shown strip. */
  changed() {
    const i = this.lastPreset;
    const version = this.versions[i];
    version.revision += 1;
    version.edited = true;
    this.player.call("setLive", [i, true]);
    this.sendStrip(i);
    clearTimeout(version.timer);
    version.timer = setTimeout(() => this.render(i), SETTLED_MS);
    this.onChange();
  }

  /** Take back all edits of the shown strip. */
  reset() {
    this.shown.strip = structuredClone(this.shown.original);
    this.shown.amount = 1;
    this.changed();
    this.shown.edited = false;
    this.onChange();
  }

  /** Render a version whole, measure it, and hear the buffer. */
  async render(i) {
    const version = this.versions[i];
    const { versions, rendering } = this;
    const { settings, off } = this.heard(i);
    const revision = version.revision;
    const message = {
      type: "render", vocal: this.index, slot: `${this.index} ${i}`, settings, off: [...off], traceSamples: TRACE_SAMPLES,
    };
    rendering.set(i, 0);
    const found = await this.renderer.run(message, (share) => {
      rendering.set(i, share);
      this.onChange(false);
    });
    rendering.delete(i);
    if (!found || versions !== this.versions || revision !== version.revision) return;
    this.length = Math.max(this.length, found.channels[0].length);
    if (revision > 0) {
      version.loudness = Number.isFinite(found.loudness) ? found.loudness : null;
      version.peak = found.peak;
    }
    version.reduction = isOff(off, "compressor") ? null : found.reduction;
    version.peaks = peaksOf(found.channels, this.length);
    this.player.call("setBuffer", [i, found.channels], found.channels.map((c) => c.buffer));
    this.player.call("setLive", [i, false]);
    this.sendLevels();
    this.onChange();
  }

  /** Render the shown version for a file. @returns {Promise<Float32Array[]>} */
  async renderForFile(progress) {
    const { settings, off } = this.heard(this.lastPreset);
    const message = {
      type: "render", vocal: this.index, slot: "file", settings, off: [...off],
      traceSamples: TRACE_SAMPLES,
    };
    return (await this.renderer.run(message, progress)).channels;
  }

  /** The common loudness: what the loudest peak allows, and no more than a usual level. */
  get targetLufs() {
    const rooms = this.versions
      .filter((v) => v.loudness !== null && v.peak > 0)
      .map((v) => v.loudness - 20 * Math.log10(v.peak) - HEADROOM_DB);
    return Math.min(LOUDEST_TARGET_LUFS, ...rooms);
  }

  /** Gain of a version in dB. */
  gainDb(version) {
    if (!this.matching || version.loudness === null) return 0;
    return this.targetLufs - version.loudness;
  }

  sendLevels() {
    this.player.call("setLevels", [this.versions.map((v) => amplitude(this.gainDb(v)))]);
  }

  setMatching(matching) {
    this.matching = matching;
    this.sendLevels();
    this.onChange();
  }

  setLoop(loop) {
    this.loop = loop;
    this.player.call("setLoop", [loop]);
    this.onChange();
  }
}
