// @ts-check
/** Keys as film editors know them. */
import { addCue, removeCue } from "./cues.js";
import { h } from "./dom.js";
import { dialog } from "./overlay.js";

/** @typedef {{store: import("./store.js").Store, stage: import("./stage.js").Stage, timeline: import("./timeline.js").Timeline,
 *   transport: import("./transport.js").Transport, moments: import("./moments.js").Moments, live: Record<string, () => void>}} Parts */

const HELP = /** @type {[string, [string, string][]][]} */ ([
  ["Playing", [["Space", "Play or pause"], ["J  K  L", "Backwards, stop, forwards; again: faster"], ["⇧ L", "Loop between in and out"]]],
  ["Moving", [["← →", "One frame"], ["⇧ ← →", "Ten frames"], ["↑ ↓", "Cut before, after"], ["Home  End", "In point, out point"], ["⇧ ,  ⇧ .", "Moment to check before, next"]]],
  ["Marking", [["I  O", "Set in, out"], ["M", "Add a cue"], ["Del", "Delete the chosen cue"]]],
  ["Looking", [["1–6", "Slider, side by side, after, before, difference, mask"], ["F", "Zoom to the next face"], ["0  9", "Whole picture, one to one"], ["+  −", "Zoom the timeline"], ["Wheel", "Zoom the picture; with Ctrl the timeline"]]],
  ["Live", [["Space", "New face on or off"], ["+  −", "Stronger, weaker"], ["1  2", "New face, side by side"], ["M", "Mirror"], ["F", "Full screen"], ["S  L", "Statistics, label in the picture"]]],
  ["Editing", [["Ctrl Z", "Undo"], ["Ctrl ⇧ Z", "Redo"], ["Ctrl S", "Save now (it saves by itself)"], ["?", "This list"]]],
]);
const VIEWS = /** @type {const} */ (["split", "side", "after", "before", "difference", "mask"]);

export function showKeys() {
  return dialog("Keys", () => ({
    body: [h("div", { class: "keys" }, HELP.map(([title, rows]) => h("section", {}, h("h2", { text: title }), h("dl", {}, rows.flatMap(([key, what]) => [
      h("dt", {}, key.split(/ +/).map((k) => h("kbd", { text: k }))), h("dd", { text: what })])))))],
  }), { width: "640px" });
}

/** @param {Parts} parts */
export function keys({ store, stage, timeline, transport, moments, live }) {
  /** @param {1 | -1} by */
  const cut = (by) => {
    const frame = store.state.frame;
    const places = [0, ...(store.state.people?.cuts ?? []), (store.state.opened?.clip.frames ?? 1) - 1].sort((a, b) => a - b);
    const found = by > 0 ? places.find((p) => p > frame) : [...places].reverse().find((p) => p < frame);
    if (found !== undefined) transport.seek(found);
  };
  /** @type {Record<string, (e: KeyboardEvent) => void>} */
  const runs = {
    " ": () => transport.toggle(),
    j: () => transport.shuttle(-1),
    k: () => stage.pause(),
    l: (e) => (e.shiftKey ? transport.toggleLoop() : transport.shuttle(1)),
    arrowleft: (e) => transport.step(e.shiftKey ? -10 : -1),
    arrowright: (e) => transport.step(e.shiftKey ? 10 : 1),
    arrowup: () => cut(-1),
    arrowdown: () => cut(1),
    home: () => transport.seek(timeline.range()[0]),
    end: () => transport.seek(timeline.range()[1] - 1),
    i: () => timeline.mark("in"),
    o: () => timeline.mark("out"),
    m: () => addCue(store),
    f: () => void stage.nextFace(),
    0: () => stage.fit(),
    9: () => stage.oneToOne(),
    "+": () => timeline.setZoom(timeline.zoom * 1.6),
    "=": () => timeline.setZoom(timeline.zoom * 1.6),
    "-": () => timeline.setZoom(timeline.zoom / 1.6),
    "?": () => void showKeys(),
    "<": () => moments.go(-1),
    ">": () => moments.go(1),
    ";": () => moments.go(-1),
    ":": () => moments.go(1),
    delete: () => store.state.scope.kind === "cue" && removeCue(store, store.state.scope.index),
  };
  VIEWS.forEach((view, k) => (runs[String(k + 1)] = () => stage.choose(view)));

  document.addEventListener("keydown", (e) => {
    const at = /** @type {HTMLElement} */ (e.target);
    if (document.querySelector("dialog[open]") || at.closest?.(".menu")) return;
    const key = e.key.toLowerCase();
    const typing = at.matches?.('input:not([type="range"], [type="checkbox"]), textarea, select') || at.isContentEditable;
    if (e.ctrlKey || e.metaKey) {
      if (key === "s") void store.save();
      else if (store.state.place === "live") return; // the project, which they are for, is out of sight
      else if (!typing && key === "z") e.shiftKey ? store.redo() : store.undo();
      else if (!typing && key === "y") store.redo();
      else return;
      return e.preventDefault();
    }
    if (typing || e.altKey || e.defaultPrevented) return;
    const acts = at.matches?.("button, a, summary, [role=button], [role=tab], input") && [" ", "enter"].includes(key);
    const slides = at.matches?.('input[type="range"], .tabs button') && key.startsWith("arrow");
    if (acts || slides) return;
    const isLive = store.state.place === "live";
    const run = isLive ? live[key] : runs[key];
    if (!run || !(store.state.opened || isLive)) {
      if (key === "?") void showKeys();
      return;
    }
    e.preventDefault();
    run(e);
  });
}
