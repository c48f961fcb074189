/** What the page saves: the shown preset, and the audio that it makes of the vocal. */
import { labelled } from "../edits.js";
import { presetFile } from "../preset.js";
import { floatWav } from "./wav.js";

const KEPT_MS = 60000;

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

/** A name that every system takes. */
const fileStem = (text) => text.replace(/[^\p{L}\p{N} ._-]+/gu, "_").replace(/^[ .]+|[ .]+$/g, "").slice(0, 80) || "vocal";

function stemOf({ vocal, shown }) {
  return fileStem(`${vocal.name.replace(/\.[^.]*$/, "")} ${shown.name}${shown.edited ? " edited" : ""}`);
}

/** Save the preset as it is heard. @param {import("./session.js").Session} session */
export function downloadPreset(session) {
  const { strip } = session.heard(session.lastPreset);
  const text = presetFile(strip, labelled(session.shown, strip, session.page, new Date()), session.page);
  download(new Blob([text], { type: "application/json" }), `${stemOf(session)}.preset.json`);
}

/**
 * Save what the shown preset makes of the vocal.
 *
 * @param {import("./session.js").Session} session
 * @param {HTMLButtonElement} button shows how far it is
 */
export async function downloadAudio(session, button) {
  // What is shown may be another vocal or preset when the render is there.
  const [name, { sampleRate }] = [`${stemOf(session)}.wav`, session];
  button.disabled = true;
  try {
    const channels = await session.renderForFile((share) => {
      button.textContent = `Rendering ${Math.round(100 * share)} %`;
    });
    download(floatWav(channels, sampleRate), name);
    session.report("file", null);
  } catch (error) {
    session.report("file", `The audio could not be rendered (${error.message}).`);
  } finally {
    button.textContent = "Download audio";
    button.disabled = false;
  }
}
