/**
 * The worker: rooms for the live console, and whole renders with their loudness, in steps, so that
 * a newer job for the same version takes the place of an older one.
 */
import { LIVE_BLOCKS, partition } from "./convolver.js";
import { integratedLoudness } from "./loudness.js";
import { render } from "./offline.js";
import { impulseResponse } from "./reverb.js";

const STEP_MS = 40;
const vocals = new Map();
const latest = new Map();

/** Let waiting messages in. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

const handlers = {
  vocal({ vocal, channels, sampleRate }) {
    vocals.set(vocal, { channels, sampleRate });
  },

  room({ job, sampleRate, room }) {
    const levels = partition(impulseResponse(sampleRate, room), LIVE_BLOCKS);
    const buffers = levels.flatMap((l) => [l.leftRe, l.leftIm, l.rightRe, l.rightIm].map((a) => a.buffer));
    self.postMessage({ job, levels }, buffers);
  },

  async render({ job, vocal, slot, settings, off, traceSamples }) {
    latest.set(slot, job);
    const { channels, sampleRate } = vocals.get(vocal);
    await pause();
    const steps = render(channels, sampleRate, settings, new Set(off), traceSamples);
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
    const result = state.value.channels;
    const pair = [result[0], result[result.length - 1]];
    const loudness = integratedLoudness(pair, sampleRate);
    let peak = 0;
    for (const channel of result) for (const x of channel) peak = Math.max(peak, Math.abs(x));
    const found = { job, channels: result, reduction: state.value.reduction, loudness, peak };
    self.postMessage(found, result.map((channel) => channel.buffer));
  },
};

let turn = Promise.resolve();
self.onmessage = ({ data }) => {
  // Renders wait for each other; rooms go in between.
  if (data.type === "render") {
    latest.set(data.slot, data.job);
    turn = turn.then(() => handlers.render(data)).catch((error) => {
      self.postMessage({ job: data.job, error: String(error) });
    });
  } else {
    handlers[data.type](data);
  }
};
