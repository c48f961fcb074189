/** The mixer as an AudioWorkletProcessor: messages in, 50 reports a second out, one when asked. */
import { Mixer } from "./mixer.js";

const BLOCK = 128;
const REPORTS_A_SECOND = 50;

class Audition extends AudioWorkletProcessor {
  constructor() {
    super();
    this.mixer = new Mixer(sampleRate, BLOCK);
    this.since = 0;
    this.port.onmessage = ({ data: [name, ...values] }) => {
      const answer = this.mixer[name](...values);
      if (answer) this.port.postMessage(answer);
    };
  }

  process(inputs, [output]) {
    const [left, right] = output;
    for (let from = 0; from < left.length; from += BLOCK) {
      this.mixer.process(left.subarray(from, from + BLOCK), right.subarray(from, from + BLOCK));
    }
    this.since += left.length;
    if (this.since * REPORTS_A_SECOND >= sampleRate) {
      this.since = 0;
      this.port.postMessage(this.mixer.report());
    }
    return true;
  }
}

registerProcessor("diffconsole-audition", Audition);
