// @ts-check
/**
 * The timeline: where one is, what is seen and heard, who is there, and what is otherwise where. It is spaced by time, not
 * by frames: where the rate varies, sound, pictures and cues are still above each other, and the playhead runs evenly.
 */
import { get, within } from "./api.js";
import { CueBlocks } from "./timeline_cues.js";
import { button, drag, h, icon, paced, renew } from "./dom.js";
import { everybody, partOf } from "./people.js";
import { attempt } from "./overlay.js";
import { addCue } from "./cues.js";
import { colours, paint } from "./timeline_draw.js";
import { clamp, clock, momentText } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {{ruler: number, thumbs: number, wave: number, person: number, cue: number}} Heights */

export const ROWS = { ruler: 24, thumbs: 44, wave: 32, person: 30, cue: 26 };

export class Timeline {
  /** @param {Store} store @param {HTMLElement} box */
  constructor(store, box) {
    this.store = store;
    this.box = box;
    this.first = 0; // the second at the left edge
    this.zoom = 1; // 1: the whole clip is seen
    /** @type {HTMLImageElement | null} */
    this.sprite = null;
    this.cells = 0;
    /** @type {number[]} */
    this.peaks = [];
    this.follow = true;
    this.openId = /** @type {string | undefined} */ (undefined);
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.playhead = h("div", { class: "playhead" });
    this.trims = /** @type {HTMLElement[]} */ (["in", "out"].map((side) => h("div", {
      class: `trim ${side}`, role: "slider", tabindex: 0, "aria-label": side === "in" ? "In point" : "Out point",
      on: { pointerdown: (/** @type {PointerEvent} */ e) => this.dragTrim(e, side), keydown: (/** @type {KeyboardEvent} */ e) => this.keyTrim(e, side) },
    })));
    this.body = h("div", { class: "lane-body", role: "slider", tabindex: 0, "aria-label": "Playhead", "aria-valuemin": 0,
      on: { pointerdown: (/** @type {PointerEvent} */ e) => this.scrub(e), dblclick: (/** @type {MouseEvent} */ e) => this.addThere(e) } }, this.canvas);
    this.heads = h("div", { class: "lane-heads" });
    this.lanes = h("div", { class: "lanes" }, this.heads, this.body);
    this.thumb = h("div", { on: { pointerdown: (/** @type {PointerEvent} */ e) => this.dragScroller(e) } });
    this.scroller = h("div", { class: "scroller", "aria-hidden": "true" }, this.thumb);
    this.slider = h("input", { type: "range", min: 0, max: 1, step: "any", value: 0, "aria-label": "Zoom of the timeline", on: { input: () => this.setZoom(this.mostZoom() ** Number(this.slider.value)) } });
    this.moments = h("div", { class: "row" });
    this.bar = h("div", { class: "timeline-bar" },
      button({ icon: "cue", text: "Add cue", label: "Add cue", title: "Add a cue at the playhead (M)", class: "small", run: () => addCue(store) }),
      button({ icon: "in", label: "Set in point (I)", class: "small", run: () => this.mark("in") }),
      button({ icon: "out", label: "Set out point (O)", class: "small", run: () => this.mark("out") }),
      button({ icon: "reset", label: "Clear in and out", class: "small", run: () => this.clearMarks() }),
      h("span", { class: "grow" }), this.moments, h("span", { class: "grow" }),
      button({ icon: "minus", label: "Zoom timeline out (−)", class: "small", run: () => this.setZoom(this.zoom / 1.6) }),
      this.slider,
      button({ icon: "plus", label: "Zoom timeline in (+)", class: "small", run: () => this.setZoom(this.zoom * 1.6) }));
    const grip = h("div", { class: "resize", role: "separator", tabindex: 0, "aria-orientation": "horizontal", "aria-label": "Height of the timeline",
      on: { pointerdown: (/** @type {PointerEvent} */ e) => this.resize(e), keydown: (/** @type {KeyboardEvent} */ e) => this.resizeKey(e) } });
    box.append(grip, this.bar, this.lanes, this.scroller);
    this.cues = new CueBlocks(this);
    this.body.append(...this.trims, this.playhead);
    this.lanes.addEventListener("wheel", (/** @type {WheelEvent} */ e) => this.wheel(e), { passive: false });
    this.draw = paced(() => this.paint());
    this.colours = colours(box);
    const recolour = () => {
      this.colours = colours(box);
      this.draw();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(() => {
      this.draw();
      this.pictures();
    }).observe(this.lanes);
    store.on(["opened"], () => this.open());
    store.on(["people", "project", "scope", "opened"], () => this.layout());
    store.on(["frame"], () => this.place());
    const saved = Number(localStorage.getItem("mien-timeline"));
    if (saved > 120) this.setHeight(saved);
  }

  get state() {
    return this.store.state;
  }

  get frames() {
    return this.clock.frames;
  }

  get clock() {
    return clock(this.state);
  }

  /** Seconds from the first frame to the end of the last. */
  get length() {
    return this.clock.end - this.clock.begin;
  }

  get width() {
    return this.body.clientWidth || 1;
  }

  /** Pixels a second. */
  get scale() {
    return (this.width / this.length) * this.zoom;
  }

  /** @param {number} frame */
  x(frame) {
    return (this.clock.seconds(frame) - this.first) * this.scale;
  }

  /** How far into the clip a place is, 0 to 1. @param {number} x */
  share(x) {
    return (this.first + x / this.scale - this.clock.begin) / this.length;
  }

  /** @param {number} clientX */
  secondsAt(clientX) {
    return (clientX - this.body.getBoundingClientRect().left) / this.scale + this.first;
  }

  /** The shortest frame is 24 pixels wide. */
  mostZoom() {
    return Math.max(1.01, (this.length / this.clock.least) * (24 / this.width));
  }

  /** In and out. @returns {[number, number]} */
  range() {
    const p = this.state.project;
    const { frames } = this;
    const start = clamp(this.clock.read(p?.start, 0), 0, frames - 1);
    return [start, clamp(this.clock.read(p?.end, frames), start + 1, frames)];
  }

  open() {
    const { opened } = this.state;
    if (this.openId === opened?.id) return;
    this.openId = opened?.id;
    this.first = this.clock.begin;
    this.zoom = 1;
    this.sprite = null;
    this.cells = 0;
    this.peaks = [];
    this.body.setAttribute("aria-valuemax", String(this.frames - 1));
    if (!opened) return this.draw();
    this.pictures();
    if (opened.clip.audio) {
      void attempt(async () => {
        const found = await get(within(opened.id, "/waveform?points=2000"));
        if (this.openId !== opened.id) return;
        this.peaks = found.peaks;
        this.draw();
      });
    }
  }

  /** Get more thumbnails where the zoom asks for them. */
  pictures() {
    const { opened } = this.state;
    if (!opened || this.width < 50) return;
    const wide = (ROWS.thumbs * opened.clip.width) / opened.clip.height;
    const wanted = Math.min(240, Math.round(this.length / this.clock.least), 2 ** Math.ceil(Math.log2(Math.max(8, (this.width * this.zoom) / wide))));
    if (wanted <= this.cells) return;
    this.cells = wanted;
    const image = new Image();
    image.onload = () => {
      if (this.openId !== opened.id || this.cells !== wanted) return;
      this.sprite = image;
      this.spriteCells = wanted;
      this.draw();
    };
    image.src = `/api${within(opened.id, "/thumbnails")}?count=${wanted}&height=${ROWS.thumbs * 2}`;
  }

  layout() {
    const { state } = this;
    const people = everybody(state);
    this.rows = people.length;
    this.cueRows = Math.max(1, this.cues.arrange());
    const head = (/** @type {number} */ height, /** @type {string} */ text, /** @type {string} */ image) =>
      h("div", { class: "lane-head", css: { height: `${height}px` } }, icon(image), h("span", { class: "clip", text }));
    const audio = state.opened?.clip.audio;
    renew(this.heads, [
      head(ROWS.ruler, "Time", "flag"),
      head(ROWS.thumbs, "Picture", "film"),
      audio && head(ROWS.wave, "Sound", "sound"),
      ...people.map((p) => this.personHead(p)),
      head(ROWS.cue * this.cueRows + 4, "Cues", "cue"),
    ]);
    const height = ROWS.ruler + ROWS.thumbs + (audio ? ROWS.wave : 0) + people.length * ROWS.person + ROWS.cue * this.cueRows + 4;
    this.body.style.height = `${height}px`;
    this.cueTop = height - ROWS.cue * this.cueRows - 2;
    this.place();
    this.draw();
  }

  /** @param {import("./types.js").Person} p */
  personHead(p) {
    const { state } = this;
    const chosen = state.scope.kind === "person" && state.scope.id === p.id;
    const part = state.project?.cast?.[partOf(state.project, p.id)];
    return h("div", {
      class: `lane-head lane-person ${chosen ? "chosen" : ""}`, role: "button", tabindex: 0, data: { colour: p.colour, key: `lane-${p.id}` }, css: { height: `${ROWS.person}px` },
      title: part ? (part.off ? "New face is switched off" : "Has a new face") : "Keeps the original face",
      on: {
        click: () => this.store.set({ scope: { kind: "person", id: p.id } }),
        keydown: (/** @type {KeyboardEvent} */ e) => {
          if (e.key !== "Enter" && e.key !== " ") return;
          e.preventDefault();
          this.store.set({ scope: { kind: "person", id: p.id } });
        },
      },
    }, h("span", { class: "dot" }), h("img", { src: p.picture, alt: "" }), h("span", { class: "clip grow", text: p.name }), part && icon(part.off ? "hidden" : "check"));
  }

  /** Put what moves with the time in its place. */
  place() {
    const { frame, playing } = this.state;
    const now = this.clock.seconds(frame);
    if (playing && this.follow && (now < this.first || now > this.first + this.width / this.scale)) this.show(now - 2 * this.clock.least);
    const x = this.x(frame);
    this.playhead.style.transform = `translateX(${x + Math.min((this.x(frame + 1) - x) / 2, 4)}px)`;
    this.playhead.hidden = x < -2 || x > this.width;
    this.body.setAttribute("aria-valuenow", String(frame));
    this.body.setAttribute("aria-valuetext", `${this.clock.code(frame)}, frame ${frame}`);
    this.range().forEach((at, k) => {
      const node = this.trims[k];
      const place = this.x(at);
      node.hidden = !this.state.opened || place < -12 || place > this.width + 12;
      node.style.left = `${place}px`;
      node.setAttribute("aria-valuenow", String(at));
      node.setAttribute("aria-valuetext", this.clock.code(at));
    });
    this.cues.place();
  }

  paint() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const high = this.body.clientHeight;
    if (this.canvas.width !== Math.round(this.width * ratio) || this.canvas.height !== Math.round(high * ratio)) {
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(high * ratio);
      this.canvas.style.width = `${this.width}px`;
      this.canvas.style.height = `${high}px`;
    }
    const g = this.canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.first = this.fitting(this.first);
    paint(g, this);
    this.place();
    this.slider.value = String(Math.log(this.zoom) / Math.log(this.mostZoom()));
    this.slider.style.setProperty("--share", `${Number(this.slider.value) * 100}%`);
    this.scroller.hidden = this.zoom <= 1.001;
    this.thumb.style.left = `${this.share(0) * 100}%`;
    this.thumb.style.width = `${100 / this.zoom}%`;
  }

  /** A left edge beside which the clip fills the width. @param {number} first */
  fitting(first) {
    const { begin, end } = this.clock;
    return clamp(first, begin, Math.max(begin, end - this.width / this.scale));
  }

  /** Scroll so that a moment is at the left edge. @param {number} first */
  show(first) {
    this.first = this.fitting(first);
    this.draw();
  }

  /** @param {number} zoom @param {number} [around] The moment that stays where it is. */
  setZoom(zoom, around = this.clock.seconds(this.state.frame)) {
    const share = clamp((around - this.first) * this.scale / this.width, 0, 1);
    this.zoom = clamp(zoom, 1, this.mostZoom());
    this.show(around - (share * this.width) / this.scale);
    this.pictures();
  }

  /** @param {WheelEvent} e */
  wheel(e) {
    if (!this.state.opened) return;
    if (e.ctrlKey || e.altKey || e.metaKey) {
      e.preventDefault();
      this.setZoom(this.zoom * Math.exp(-e.deltaY * 0.002), this.secondsAt(e.clientX));
    } else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY) || this.lanes.scrollHeight <= this.lanes.clientHeight) {
      e.preventDefault();
      this.show(this.first + (e.deltaX + e.deltaY) / this.scale);
    }
  }

  /** @param {PointerEvent} e */
  scrub(e) {
    if (e.button !== 0 || !this.state.opened) return;
    const go = (/** @type {PointerEvent} */ m) => this.store.set({ frame: this.clock.at(this.secondsAt(m.clientX)) });
    this.onSeek?.();
    go(e);
    if (e.offsetY > ROWS.ruler + ROWS.thumbs) this.choosePerson(e);
    drag(e, (m) => go(m));
  }

  /** @type {(() => void) | undefined} */
  onSeek;

  /** A double click on the free part of the lane of cues adds one there. @param {MouseEvent} e */
  addThere(e) {
    const y = e.clientY - this.body.getBoundingClientRect().top;
    if (e.target === this.body && y >= (this.cueTop ?? 0)) addCue(this.store, { start: this.clock.at(this.secondsAt(e.clientX)) });
  }

  /** A click on a lane chooses the person. @param {PointerEvent} e */
  choosePerson(e) {
    const y = e.clientY - this.body.getBoundingClientRect().top - ROWS.ruler - ROWS.thumbs - (this.state.opened?.clip.audio ? ROWS.wave : 0);
    const person = everybody(this.state)[Math.floor(y / ROWS.person)];
    if (y >= 0 && person) this.store.set({ scope: { kind: "person", id: person.id } });
  }

  /** @param {"in" | "out" | string} side @param {number} [frame] @param {string} [merge] */
  mark(side, frame = this.state.frame, merge = "") {
    const [start, end] = this.range();
    this.store.edit(side === "in" ? "set in point" : "set out point", (draft) => {
      if (side === "in") {
        const at = clamp(frame, 0, this.frames - 1);
        draft.start = at > 0 ? momentText(at) : "";
        if (at >= end) draft.end = "";
      } else {
        const at = clamp(merge ? frame : frame + 1, 1, this.frames);
        draft.end = at < this.frames ? momentText(at) : "";
        if (at <= start) draft.start = "";
      }
    }, merge);
  }

  clearMarks() {
    this.store.edit("clear in and out", (draft) => Object.assign(draft, { start: "", end: "" }));
  }

  /** @param {PointerEvent} e @param {string} side */
  dragTrim(e, side) {
    e.stopPropagation();
    const [start, end] = this.range();
    drag(e, (m) => {
      const at = this.clock.nearest(this.secondsAt(m.clientX));
      this.mark(side, side === "in" ? clamp(at, 0, end - 1) : clamp(at, start + 1, this.frames), `trim-${e.timeStamp}`);
    });
  }

  /** @param {KeyboardEvent} e @param {string} side */
  keyTrim(e, side) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    const [start, end] = this.range();
    const at = (side === "in" ? start : end) + by * (e.shiftKey ? 10 : 1);
    this.mark(side, side === "in" ? clamp(at, 0, end - 1) : clamp(at, start + 1, this.frames), `trim-keys-${side}`);
  }

  /** @param {PointerEvent} e */
  dragScroller(e) {
    const from = this.first;
    drag(e, (_, dx) => this.show(from + (dx / this.scroller.clientWidth) * this.length));
  }

  /** @param {number} height */
  setHeight(height) {
    const fit = clamp(height, 140, innerHeight - 320);
    document.documentElement.style.setProperty("--timeline-height", `${fit}px`);
    localStorage.setItem("mien-timeline", String(fit));
  }

  /** @param {PointerEvent} e */
  resize(e) {
    const from = this.box.clientHeight;
    drag(e, (_, __, dy) => this.setHeight(from - dy));
  }

  /** @param {KeyboardEvent} e */
  resizeKey(e) {
    const by = { ArrowUp: 24, ArrowDown: -24 }[e.key];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    this.setHeight(this.box.clientHeight + by);
  }
}
