/**
 * The worker: rooms for the live console, estimates of an edit's loudness, and whole renders with
 * their loudness, in steps, so that a newer job for the same version takes the place of an older one.
 */
import { TWINS } from "./chain.js";
import { levelOf } from "./loudness.js";
import { render } from "./offline.js";

const STEP_MS = 40;
const MOST_RESPONSES = 4;
const MOST_LEVELS = 8;
const PART_TRACE = 512;
const vocals = new Map();
const latest = new Map();
const responses = new Map();
const levels = new Map();

/** Let waiting messages in. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

/** What a function made before for the same key, or what it makes now; the oldest are dropped. */
function remembered(known, most, key, make) {
  const found = known.get(key) ?? make();
  known.delete(key);
  known.set(key, found);
  if (known.size > most) known.delete(known.keys().next().value);
  return found;
}

/** A module's response, as `response` of its twin makes it. */
function respond({ key: module, response }, sampleRate, room) {
  const key = JSON.stringify([module, sampleRate, response.of(room)]);
  return remembered(responses, MOST_RESPONSES, key, () => response.make(sampleRate, room));
}

/** Loudness and peak of a part of a vocal through settings; what lies before only leads in. */
function partLevel(vocal, { lead, from, to }, { settings, off }) {
  const { channels, sampleRate } = vocals.get(vocal);
  const part = channels.map((channel) => channel.subarray(lead, to));
  const steps = render(part, sampleRate, settings, new Set(off), PART_TRACE, { tail: false, respond });
  let state = steps.next();
  while (!state.done) state = steps.next();
  return levelOf(state.value.channels.map((channel) => channel.subarray(from - lead)), sampleRate);
}

const handlers = {
  vocal({ vocal, channels, sampleRate }) {
    vocals.set(vocal, { channels, sampleRate });
    // Nobody waits for the versions of the vocal before.
    for (const slot of latest.keys()) if (slot !== "file") latest.set(slot, 0);
  },

  room({ job, module: key, sampleRate, room }) {
    const module = TWINS.find((twin) => twin.key === key);
    const made = module.response.split(respond(module, sampleRate, room));
    const arrays = made.flatMap((level) => Object.values(level).filter(ArrayBuffer.isView));
    const buffers = arrays.map((array) => array.buffer);
    self.postMessage({ job, levels: made }, buffers);
  },

  /** Let a render end that nobody waits for. */
  drop({ slot }) {
    latest.set(slot, 0);
  },

  estimate({ job, vocal, part, before, after }) {
    const level = (strip) =>
      remembered(levels, MOST_LEVELS, JSON.stringify([vocal, part, strip]), () => partLevel(vocal, part, strip));
    self.postMessage({ job, before: level(before), after: level(after) });
  },

  async render({ job, vocal, slot, settings, off, traceSamples }) {
    const { channels, sampleRate } = vocals.get(vocal);
    await pause();
    const steps = render(channels, sampleRate, settings, new Set(off), traceSamples, { respond });
    let since = performance.now();
    let state = latest.get(slot) === job ? steps.next() : null;
    while (state && !state.done) {
      if (performance.now() - since > STEP_MS) {
        self.postMessage({ job, progress: state.value });
        await pause();
        since = performance.now();
        if (latest.get(slot) !== job) state = null;
      }
      if (state) state = steps.next();
    }
    if (!state) {
      self.postMessage({ job, dropped: true });
      return;
    }
    const { channels: result, reduction } = state.value;
    const found = { job, channels: result, reduction, ...levelOf(result, sampleRate) };
    self.postMessage(found, result.map((channel) => channel.buffer));
  },
};

let turn = Promise.resolve();
self.onmessage = ({ data }) => {
  const failed = (error) => self.postMessage({ job: data.job, error: error?.message ?? String(error) });
  // Renders wait for each other; all else goes in between.
  if (data.type === "render") {
    latest.set(data.slot, data.job);
    turn = turn.then(() => handlers.render(data)).catch(failed);
    return;
  }
  try {
    handlers[data.type](data);
  } catch (error) {
    failed(error);
  }
};
