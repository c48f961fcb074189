/** The worklet and the worker, and what goes between them and the page. */

const base64 = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
};

/** A script as a `data:` URL: a page from disk may load no `blob:` module into a worklet. */
const scriptUrl = (id) => {
  const text = document.getElementById(id).textContent;
  return `data:text/javascript;charset=utf-8,${encodeURIComponent(text)}`;
};

/**
 * Decode audio that the page holds.
 *
 * @param {string} id of its element
 * @param {number} sampleRate Hz, that of the file: nothing is resampled
 * @param {number} channels
 * @returns {Promise<Float32Array[]>}
 */
export async function decodeAudio(id, sampleRate, channels) {
  const element = document.getElementById(id);
  const bytes = base64(element.textContent.trim());
  const decoded = await new OfflineAudioContext(channels, 1, sampleRate).decodeAudioData(bytes.buffer);
  return Array.from({ length: channels }, (_, i) => decoded.getChannelData(i).slice());
}

/** The worker with its jobs. */
export class Renderer {
  constructor() {
    this.jobs = new Map();
    this.next = 1;
    this.last = null;
    this.begin();
  }

  /** Start the worker, again where it broke down. */
  begin() {
    this.worker?.terminate();
    this.worker = new Worker(scriptUrl("worker-source"));
    this.worker.onerror = (event) => {
      event.preventDefault();
      const lost = [...this.jobs.values()];
      this.jobs.clear();
      this.begin();
      for (const job of lost) job.reject(new Error(event.message || "the worker broke down"));
    };
    if (this.last) this.worker.postMessage(this.last);
    this.worker.onmessage = ({ data }) => {
      const job = this.jobs.get(data.job);
      if (!job) return;
      if ("progress" in data) {
        job.progress?.(data.progress);
        return;
      }
      this.jobs.delete(data.job);
      if (data.error) job.reject(new Error(data.error));
      else job.resolve(data.dropped ? null : data);
    };
  }

  /** Hand over a vocal. */
  vocal(vocal, channels, sampleRate) {
    this.last = { type: "vocal", vocal, channels, sampleRate };
    this.worker.postMessage(this.last);
  }

  /** End the render of a version whose settings have changed. */
  drop(slot) {
    this.worker.postMessage({ type: "drop", slot });
  }

  /**
   * Start a job.
   *
   * @param {object} message for the worker
   * @param {function(number): void} [progress] gets the share done
   * @returns {Promise<?object>} null where a newer job took its place
   */
  run(message, progress) {
    const job = this.next++;
    return new Promise((resolve, reject) => {
      this.jobs.set(job, { resolve, reject, progress });
      this.worker.postMessage({ ...message, job });
    });
  }
}

/** How long a browser may take to open the device that plays. */
const DEVICE_SECONDS = 15;

/** What a promise brings, or an error where it brings nothing for so long. */
function inTime(promise, seconds, message) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), 1000 * seconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * The mixer in its worklet. The audio context is made with the first sound that is asked for, as
 * browsers want it; until then, calls wait.
 */
export class Player {
  /**
   * @param {function(object): void} onReport gets the mixer's reports; `isCurrent` is false in one
   *   that was on its way when a later {@link move} began
   */
  constructor(onReport) {
    this.onReport = onReport;
    this.waiting = [];
    this.context = null;
    this.node = null;
    this.starting = null;
    this.mark = 0;
  }

  /** Begin with a vocal; what waited for another is forgotten. @param {number} sampleRate Hz */
  open(sampleRate) {
    this.waiting = [];
    if (this.context && this.context.sampleRate !== sampleRate) {
      this.context.close();
      this.context = null;
      this.node = null;
      this.starting = null;
    }
    this.sampleRate = sampleRate;
  }

  /** Call a function of the mixer; `transfer` are buffers that the page gives away. */
  call(name, values, transfer = []) {
    if (this.node) this.node.port.postMessage([name, ...values], transfer);
    else this.waiting.push([name, values, transfer]);
  }

  /** Call a function that says where or whether to play; reports from before can be recognised. */
  move(name, values) {
    this.mark += 1;
    this.call(name, [...values, this.mark]);
  }

  /** Make sure that sound can come out. */
  async start() {
    if (!this.node) {
      this.starting ??= this.makeContext();
      const { starting } = this;
      try {
        await starting;
      } finally {
        if (this.starting === starting) this.starting = null;
      }
    }
    if (!this.context) return;
    await inTime(this.context.resume(), DEVICE_SECONDS, "the browser opened no audio device");
  }

  async makeContext() {
    const options = { sampleRate: this.sampleRate, latencyHint: "interactive" };
    const context = new AudioContext(options);
    this.context = context;
    await context.audioWorklet.addModule(scriptUrl("worklet-source"));
    // Another vocal may have been opened meanwhile.
    if (this.context !== context) return;
    const node = new AudioWorkletNode(context, "diffconsole-audition", {
      numberOfInputs: 0,
      outputChannelCount: [2],
    });
    node.port.onmessage = ({ data }) => this.onReport({ ...data, isCurrent: data.mark === this.mark });
    node.connect(context.destination);
    this.node = node;
    for (const [name, values, transfer] of this.waiting) this.call(name, values, transfer);
    this.waiting = [];
  }
}
