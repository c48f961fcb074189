/** The page's keys; those of a field, a dialog or a button stay theirs. */

const typesText = (element) =>
  element instanceof HTMLSelectElement || (element instanceof HTMLInputElement && element.type !== "range");

/** @param {object} actions of the page */
export function bindKeys(actions) {
  const byKey = {
    "[": () => actions.loopEdge(0),
    "]": () => actions.loopEdge(1),
    "?": actions.openHelp,
    Home: actions.toStart,
    Escape: () => actions.setLoop(null),
    l: actions.toggleLoop,
    m: actions.toggleMatching,
    t: actions.openAbx,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || typesText(event.target)) return;
    const { key, target } = event;
    const isSlider = target instanceof HTMLInputElement;
    if (key === " ") {
      // A focused button is pressed by the space bar, as everywhere.
      if (target instanceof HTMLButtonElement && target.getAttribute("role") !== "radio") return;
      actions.toggle();
    } else if (/^[1-9]$/.test(key)) {
      actions.select(Number(key) - 1);
    } else if ((key === "ArrowLeft" || key === "ArrowRight") && !isSlider) {
      actions.seekBy((key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 5 : 1));
    } else if (byKey[key] ?? byKey[key.toLowerCase()]) {
      (byKey[key] ?? byKey[key.toLowerCase()])();
    } else {
      return;
    }
    event.preventDefault();
  });
}
