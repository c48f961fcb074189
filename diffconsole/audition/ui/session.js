/**
 * A vocal with its versions: what is edited, what is rendered, what is heard, how loud.
 *
 * An edit goes to the live console at once, and its loudness is estimated. When no further one
 * follows, the worker renders the whole version and measures it; then its buffer is heard again.
 */
import { active } from "../chain.js";
import { consoleTarget } from "../console.js";
import { changedKeys } from "../edits.js";
import { atAmount, bypassOf, settingsOf } from "../preset.js";
import { estimated, gainChangeDb, partOf, raised } from "./matching.js";
import { decodeAudio } from "./player.js";

const SETTLED_MS = 500;
const ROOM_TRIES = 3;
const RETRY_MS = 200;
const LOUDEST_TARGET_LUFS = -16;
const HEADROOM_DB = 1;
export const TRACE_SAMPLES = 512;
const PEAKS = 2400;

const amplitude = (db) => 10 ** (db / 20);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

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

/** Settings and what is off, as the worker gets them. */
const sent = ({ settings, off }) => ({ settings, off: [...off] });

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
    this.selected = null;
    this.rendering = new Map();
    /** By vocal what was edited of its versions, so that it is there when the vocal is opened again. */
    this.edits = new Map();
    /** Counts the vocals opened: what comes late for an earlier one is dropped. */
    this.generation = 0;
    this.isLoaded = false;
    /** What went wrong in the background, for people; by what failed. */
    this.problems = new Map();
    /** Where the playhead is, in samples. */
    this.playhead = () => 0;
  }

  /**
   * Open a vocal: its raw, which resolves `ready`, then the mix; presets render behind it.
   *
   * @returns {Promise<boolean>} false where another vocal was opened meanwhile
   */
  open(index) {
    this.generation += 1;
    const { generation } = this;
    this.ready = this.begin(index, generation);
    return this.ready.then((isOpen) => isOpen && this.finish(generation));
  }

  async begin(index, generation) {
    const vocal = this.page.vocals[index];
    if (this.versions) this.edits.set(this.index, this.versions.map(({ strip, amount, edited }) => ({ strip, amount, edited })));
    this.index = index;
    this.vocal = vocal;
    this.sampleRate = vocal.sampleRate;
    this.loop = null;
    this.lastLoop = null;
    this.isLoaded = false;
    this.problems.clear();
    this.rooms = new Map();
    this.rendering = new Map();
    for (const version of this.versions ?? []) clearTimeout(version.timer);
    this.versions = vocal.versions.map((version) => ({
      ...version,
      amount: 1,
      edited: false,
      original: version.strip,
      strip: version.strip && structuredClone(version.strip),
      peaks: null,
      reduction: null,
      revision: 0,
      isEstimate: false,
      guessing: false,
    }));
    this.lastPreset = this.versions.findIndex((v) => v.kind === "preset");
    // The first preset is what the page is for; raw is one key away.
    this.selected = Math.min(this.selected ?? Math.max(this.lastPreset, 0), this.versions.length - 1);
    this.versions.forEach((version, i) => {
      if (version.kind === "preset") version.known = version.measured = this.levelWith(i, version);
    });
    // The levels above are those of the presets as they came; an edited one is measured again.
    this.edits.get(index)?.forEach((kept, i) => {
      if (kept.edited) Object.assign(this.versions[i], kept, { revision: 1 });
    });
    this.length = vocal.samples + vocal.tailSamples;
    this.player.open(vocal.sampleRate);
    const raw = await decodeAudio(vocal.audio, vocal.sampleRate, vocal.channels);
    if (generation !== this.generation) return false;
    this.versions[0].peaks = peaksOf(raw, this.length);
    this.renderer.vocal(index, raw, vocal.sampleRate);
    this.player.move("load", [raw, this.versions.length, this.length]);
    this.player.call("setBuffer", [0, raw]);
    this.isLoaded = true;
    this.versions.forEach((version, i) => {
      if (version.kind === "preset") this.sendStrip(i);
      // Edited while the vocal was still being decoded.
      if (version.revision > 0) this.guess(i);
    });
    this.sendLevels();
    this.select(this.selected);
    return true;
  }

  async finish(generation) {
    for (const [i, version] of this.versions.entries()) {
      if (version.kind !== "mix") continue;
      try {
        await this.openMix(i, version, generation);
      } catch (error) {
        if (generation === this.generation) this.report(`mix ${i}`, `${version.name} cannot be played (${error.message}).`);
      }
      if (generation !== this.generation) return false;
    }
    for (const [i, version] of this.versions.entries()) {
      if (version.kind === "preset") this.render(i);
    }
    return true;
  }

  async openMix(i, version, generation) {
    const channels = await decodeAudio(version.audio, this.sampleRate, version.channels);
    if (generation !== this.generation) return;
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

  /** The worker's name for a version: of two renders for it, the later one counts. */
  slotOf(i) {
    return `${this.index} ${i}`;
  }

  /** A version's level as it is known, with the settings that it belongs to. */
  levelWith(i, { loudness, peak }) {
    const { settings, off } = this.heard(i);
    return { loudness, peak, settings, off };
  }

  /** Say in the page that something failed, or with null that it goes again. */
  report(what, problem) {
    if (problem === null) this.problems.delete(what);
    else this.problems.set(what, problem);
    this.onChange(false);
  }

  /** Tell the live console; what modules make apart only where it changed. */
  sendStrip(i) {
    const { settings, off } = this.heard(i);
    this.player.call("setStrip", [i, consoleTarget(settings, off)]);
    for (const { module, settings: own } of active(settings, off)) {
      if (module.response) this.sendRoom(i, module, own);
    }
  }

  async sendRoom(i, { key, title, response }, settings) {
    const wanted = JSON.stringify(response.of(settings));
    const place = `${i} ${key}`;
    const state = this.rooms.get(place) ?? { made: "", wanted: "", busy: false };
    this.rooms.set(place, state);
    state.wanted = wanted;
    if (state.busy) return;
    const rooms = this.rooms;
    state.busy = true;
    let failures = 0;
    while (state.made !== state.wanted && failures < ROOM_TRIES && rooms === this.rooms) {
      const making = state.wanted;
      try {
        const own = { module: key, sampleRate: this.sampleRate, room: JSON.parse(making) };
        const message = { type: "room", ...own };
        const { levels } = await this.renderer.run(message);
        if (rooms !== this.rooms) break;
        state.made = making;
        failures = 0;
        this.player.call("setRoom", [i, levels, key]);
        this.report(`room ${key}`, null);
      } catch (error) {
        failures += 1;
        const what = `The ${title.toLowerCase()} could not be made (${error.message}).`;
        if (rooms === this.rooms) this.report(`room ${key}`, `${what} The next edit tries again.`);
        await wait(RETRY_MS * failures);
      }
    }
    state.busy = false;
  }

  /** After a change of the shown strip. */
  changed() {
    const i = this.lastPreset;
    const version = this.versions[i];
    version.revision += 1;
    version.edited = version.amount !== 1 || changedKeys(version.original, version.strip, this.page).length > 0;
    clearTimeout(version.timer);
    if (this.isLoaded) {
      this.renderer.drop(this.slotOf(i));
      this.player.call("setLive", [i, true]);
      this.sendStrip(i);
      this.guess(i);
      version.timer = setTimeout(() => this.render(i), SETTLED_MS);
      // What is edited is what people want to hear.
      if (this.selected !== i) this.select(i);
    }
    this.onChange();
  }

  /** Estimate how loud an edited version is: by its gains at once, then by a part of it. */
  async guess(i) {
    const version = this.versions[i];
    this.takeLevel(version, raised(version.known, gainChangeDb(version.known, this.heard(i))), true);
    if (version.guessing) return;
    const { generation, sampleRate, length, vocal } = this;
    version.guessing = true;
    let revision = null;
    try {
      while (revision !== version.revision && generation === this.generation) {
        revision = version.revision;
        const { measured } = version;
        const after = this.heard(i);
        const place = { position: this.playhead(), length, samples: vocal.samples, sampleRate };
        const part = partOf(this.versions[0].peaks, place);
        const message = { type: "estimate", vocal: this.index, part };
        const found = await this.renderer.run({ ...message, before: sent(measured), after: sent(after) });
        // A whole render that ended meanwhile knows better.
        if (generation !== this.generation || measured !== version.measured) continue;
        const level = estimated(measured, found);
        version.known = { ...level, settings: after.settings, off: after.off };
        this.takeLevel(version, raised(level, gainChangeDb(after, this.heard(i))), true);
      }
    } catch {
      // The whole render follows, and says what is wrong.
    } finally {
      version.guessing = false;
    }
  }

  /** Play a version as loud as this level asks for. */
  takeLevel(version, { loudness, peak }, isEstimate) {
    Object.assign(version, { loudness: Number.isFinite(loudness) ? loudness : null, peak, isEstimate });
    this.sendLevels();
    this.onChange();
  }

  /** Take back all edits of the shown strip. */
  reset() {
    this.shown.strip = structuredClone(this.shown.original);
    this.shown.amount = 1;
    this.changed();
  }

  /** Render a version whole, measure it, and hear the buffer. */
  async render(i) {
    const version = this.versions[i];
    const { versions, rendering } = this;
    const { settings, off } = this.heard(i);
    const revision = version.revision;
    const message = {
      type: "render", vocal: this.index, slot: this.slotOf(i), settings, off: [...off], traceSamples: TRACE_SAMPLES,
    };
    rendering.set(i, 0);
    let found = null;
    try {
      found = await this.renderer.run(message, (share) => {
        rendering.set(i, share);
        this.onChange(false);
      });
      if (versions === this.versions) this.report(`render ${i}`, null);
    } catch (error) {
      const what = `${version.name} could not be rendered (${error.message}).`;
      if (versions === this.versions) this.report(`render ${i}`, `${what} The next edit tries again.`);
    }
    rendering.delete(i);
    if (!found || versions !== this.versions || revision !== version.revision) return;
    this.length = Math.max(this.length, found.channels[0].length);
    if (revision > 0) {
      this.takeLevel(version, found, false);
      version.known = version.measured = { loudness: version.loudness, peak: found.peak, settings, off };
    }
    version.reduction = found.reduction;
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
    const found = await this.renderer.run(message, progress);
    if (!found) throw new Error("another download took its place");
    return found.channels;
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
    this.player.move("setLoop", [loop]);
    this.onChange();
  }
}
