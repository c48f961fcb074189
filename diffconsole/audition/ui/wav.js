/** Audio as a file: WAV, 32-bit float. */

/**
 * @param {Float32Array[]} channels
 * @param {number} sampleRate Hz
 * @returns {Blob}
 */
export function floatWav(channels, sampleRate) {
  const count = channels.length;
  const samples = channels[0].length;
  const header = new DataView(new ArrayBuffer(58));
  const text = (at, word) => [...word].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
  const bytes = samples * count * 4;
  text(0, "RIFF");
  header.setUint32(4, 50 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 18, true);
  header.setUint16(20, 3, true); // IEEE float
  header.setUint16(22, count, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, sampleRate * count * 4, true);
  header.setUint16(32, count * 4, true);
  header.setUint16(34, 32, true);
  text(38, "fact");
  header.setUint32(42, 4, true);
  header.setUint32(46, samples, true);
  text(50, "data");
  header.setUint32(54, bytes, true);
  const data = new Float32Array(samples * count);
  channels.forEach((channel, c) => {
    for (let n = 0; n < samples; n++) data[n * count + c] = channel[n];
  });
  return new Blob([header, data], { type: "audio/wav" });
}
