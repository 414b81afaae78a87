// @ts-check
/** Cues as blocks on the timeline: dragged, resized, chosen, moved with the keyboard. */
import { drag, h } from "./dom.js";
import { carried, colourOf, duplicateCue, latest, moved, removeCue, span, told } from "./cues.js";
import { part } from "./keyframes.js";
import { menu } from "./overlay.js";
import { ROWS } from "./timeline.js";
import { clamp, momentText } from "./time.js";

/** @typedef {import("./timeline.js").Timeline} Timeline */

export class CueBlocks {
  /** @param {Timeline} timeline */
  constructor(timeline) {
    this.timeline = timeline;
    this.store = timeline.store;
    /** @type {HTMLElement[]} */
    this.nodes = [];
    /** @type {number[]} */
    this.row = [];
  }

  /** Make one block a cue, overlapping ones in rows; how many rows there are. */
  arrange() {
    const { state } = this.store;
    const cues = state.project?.cues ?? [];
    const time = this.timeline.clock;
    /** @type {number[]} */
    const ends = [];
    this.row = cues.map((cue) => {
      const [start, end] = span(state, cue);
      const free = ends.findIndex((e) => e <= start);
      const row = free >= 0 ? free : ends.length;
      ends[row] = end;
      return row;
    });
    while (this.nodes.length > cues.length) this.nodes.pop()?.remove();
    while (this.nodes.length < cues.length) this.nodes.push(this.block(this.nodes.length));
    cues.forEach((cue, k) => {
      const node = this.nodes[k];
      const [start, end] = span(state, cue);
      const chosen = state.scope.kind === "cue" && state.scope.index === k;
      const text = told(state, cue);
      node.classList.toggle("chosen", chosen);
      node.dataset.colour = String(colourOf(state, cue));
      node.setAttribute("aria-pressed", String(chosen));
      node.setAttribute("aria-label", `Cue ${k + 1}: ${text}, ${time.code(start)} to ${time.code(end)}`);
      node.title = text;
      /** @type {HTMLElement} */ (node.querySelector(".text")).textContent = text;
      node.querySelectorAll(".key-mark").forEach((m) => m.remove());
      for (const key of cue.keys ?? []) {
        const share = part(time, start, end, time.read(key.at, start));
        node.append(h("span", { class: "key-mark", css: { left: `${clamp(share, 0, 1) * 100}%` } }));
      }
    });
    return ends.length;
  }

  place() {
    const { state } = this.store;
    (state.project?.cues ?? []).forEach((cue, k) => {
      const node = this.nodes[k];
      if (!node) return;
      const [start, end] = span(state, cue);
      const left = this.timeline.x(start);
      node.style.left = `${left}px`;
      node.style.width = `${Math.max(8, this.timeline.x(end) - left)}px`;
      node.style.top = `${(this.timeline.cueTop ?? 0) + this.row[k] * ROWS.cue + 2}px`;
    });
  }

  /** @param {number} index */
  block(index) {
    const node = h("div", { class: "cue", role: "button", tabindex: 0, data: { key: `cue-${index}` }, on: {
      pointerdown: (/** @type {PointerEvent} */ e) => this.move(e, index, "both"),
      keydown: (/** @type {KeyboardEvent} */ e) => this.key(e, index),
      contextmenu: (/** @type {MouseEvent} */ e) => {
        e.preventDefault();
        this.choose(index);
        menu(e, [
          { text: "Go to its start", icon: "first", run: () => this.go(index) },
          { text: "Duplicate", icon: "copy", run: () => duplicateCue(this.store, index) },
          { text: "Delete", icon: "trash", run: () => removeCue(this.store, index) },
        ]);
      },
      dblclick: () => this.go(index),
    } }, h("span", { class: "text" }),
      h("span", { class: "grip l", on: { pointerdown: (/** @type {PointerEvent} */ e) => this.move(e, index, "start") } }),
      h("span", { class: "grip r", on: { pointerdown: (/** @type {PointerEvent} */ e) => this.move(e, index, "end") } }));
    this.timeline.body.append(node);
    return node;
  }

  /** @param {number} index */
  choose(index) {
    this.store.set({ scope: { kind: "cue", index } });
  }

  /** @param {number} index */
  go(index) {
    const cue = this.store.state.project?.cues?.[index];
    if (cue) this.store.set({ frame: span(this.store.state, cue)[0] });
  }

  /** @param {PointerEvent} e @param {number} index @param {"both" | "start" | "end"} side */
  move(e, index, side) {
    e.stopPropagation();
    if (e.button !== 0) return;
    this.choose(index);
    const cue = this.store.state.project?.cues?.[index];
    if (!cue) return;
    const time = this.timeline.clock;
    const at = time.seconds(span(this.store.state, cue)[side === "end" ? 1 : 0]);
    drag(e, (_, dx) => {
      const merge = `cue-drag-${e.timeStamp}`;
      const to = time.nearest(at + dx / this.timeline.scale);
      if (side !== "both") return this.resize(index, side, to, merge);
      const most = latest(this.store.state, cue);
      const start = this.snap(clamp(to, 0, most), most);
      // Always from where it was: what is rounded to frames on the way must not add up.
      this.put(index, "move cue", moved(this.store.state, cue, carried(this.store.state, span(this.store.state, cue)[0], start)), merge);
    });
    this.nodes[index]?.focus({ preventScroll: true });
  }

  /** @param {number} index @param {"start" | "end"} side @param {number} to @param {string} merge */
  resize(index, side, to, merge) {
    const cue = this.store.state.project?.cues?.[index];
    if (!cue) return;
    const [start, end] = span(this.store.state, cue);
    const { frames } = this.timeline;
    const [a, b] = side === "start" ? [clamp(this.snap(to, end - 1), 0, end - 1), end] : [start, clamp(this.snap(to, frames), start + 1, frames)];
    this.put(index, "resize cue", { ...cue, start: momentText(a), end: momentText(b) }, merge);
  }

  /** @param {number} index @param {string} label @param {import("./types.js").Cue} cue @param {string} merge */
  put(index, label, cue, merge) {
    this.store.edit(label, (draft) => {
      if (draft.cues?.[index]) draft.cues[index] = cue;
    }, merge);
  }

  /** Hold on to cuts and to the playhead when near. @param {number} frame @param {number} most */
  snap(frame, most) {
    const { clock, scale } = this.timeline;
    const near = 6 / scale;
    const places = [0, this.store.state.frame, ...(this.store.state.people?.cuts ?? [])];
    const found = places.find((p) => Math.abs(clock.seconds(p) - clock.seconds(frame)) <= near && p <= most);
    return found ?? frame;
  }

  /** @param {KeyboardEvent} e @param {number} index */
  key(e, index) {
    const cue = this.store.state.project?.cues?.[index];
    if (!cue) return;
    if (e.key === "Enter") this.choose(index);
    else if (e.key === "Delete" || e.key === "Backspace") removeCue(this.store, index);
    else if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      const [start, end] = span(this.store.state, cue);
      const by = (e.key === "ArrowLeft" ? -1 : 1) * (e.shiftKey ? 10 : 1);
      const merge = `cue-keys-${index}`;
      const step = clamp(by, -start, this.timeline.frames - end);
      if (e.altKey) this.resize(index, "end", end + by, merge);
      else this.put(index, "move cue", moved(this.store.state, cue, (frame) => frame + step), merge); // frame by frame, there and back
    } else return;
    e.preventDefault();
    e.stopPropagation();
  }
}
