// @ts-check
/** The stage: the frame looked at, as it is and as it will be; zoom, pan, and the line between before and after. */
import { get, within } from "./api.js";
import { button, drag, h, paced, press, segmented } from "./dom.js";
import { everybody } from "./people.js";
import { Player } from "./player.js";
import { attempt, menu } from "./overlay.js";
import { clamp, clockOf } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").View} View */
/** @typedef {import("./player.js").Picture} Picture */
/** @typedef {import("./player.js").Box} Box */

const VIEWS = [
  { value: "split", icon: "split", label: "Before and after with a slider (1)" },
  { value: "side", icon: "side", label: "Side by side (2)" },
  { value: "after", icon: "after", label: "After (3)" },
  { value: "before", icon: "before", label: "Before (4)" },
  { value: "difference", icon: "difference", label: "Difference, four times as strong (5)" },
  { value: "mask", icon: "mask", label: "Where the new face lies (6)" },
];
const MOST_WIDTH = 1920;

export class Stage {
  /** @param {Store} store @param {HTMLElement} box */
  constructor(store, box) {
    this.store = store;
    /** @type {Player | null} */
    this.player = null;
    /** @type {Picture | undefined} */
    this.shown = undefined;
    this.openId = /** @type {string | undefined} */ (undefined);
    this.wished = "";
    this.loop = false;
    /** @type {(() => [number, number]) | undefined} */
    this.rangeOf = undefined;
    this.at = 0.5; // where the line stands, a share of the picture that is seen
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    this.stats = { fps: 0, times: /** @type {number[]} */ ([]) };
    this.canvas = h("canvas", { role: "img", "aria-label": "The frame at the playhead" });
    this.line = h("div", { class: "slider-line", role: "slider", tabindex: 0, "aria-label": "Line between before and after", "aria-valuemin": 0, "aria-valuemax": 100,
      on: { pointerdown: (/** @type {PointerEvent} */ e) => this.slide(e), keydown: (/** @type {KeyboardEvent} */ e) => this.slideKey(e) } });
    this.left = h("span", { class: "corner left", text: "Before" });
    this.right = h("span", { class: "corner right", text: "After" });
    this.note = h("div", { class: "stage-note", role: "status", hidden: true });
    this.info = h("div", { class: "stats", "aria-label": "Playback figures" });
    this.viewer = h("div", { class: "viewer", on: {
      pointerdown: (/** @type {PointerEvent} */ e) => this.pan(e),
      dblclick: () => this.fit(),
    } }, this.canvas, this.line, this.left, this.right, this.info, this.note);
    this.viewer.addEventListener("wheel", (/** @type {WheelEvent} */ e) => this.wheel(e), { passive: false });
    this.views = segmented("View", VIEWS, store.state.view, (v) => this.choose(/** @type {View} */ (v)));
    this.zoomText = h("span", { class: "number muted", "aria-label": "Zoom" });
    this.bar = h("div", { class: "view-bar" }, this.views, h("span", { class: "grow" }), this.zoomText,
      button({ icon: "fit", label: "Whole picture (0)", run: () => this.fit() }),
      button({ icon: "zoom", label: "One to one (9)", run: () => this.oneToOne() }),
      button({ icon: "face", label: "Zoom to a face (F)", run: (e) => this.faceMenu(/** @type {HTMLElement} */ (e.currentTarget)) }));
    box.append(this.bar, this.viewer);
    this.draw = paced(() => this.paint());
    this.ask = paced(() => this.request());
    new ResizeObserver(() => this.resized()).observe(this.viewer);
    store.on(["opened"], () => this.open());
    store.on(["frame", "project", "view"], (s) => {
      press(this.views, s.view);
      if (!s.playing) this.ask();
      else if (this.playedProject !== s.project || this.playedView !== s.view) this.replay();
      this.draw();
    });
    store.on(["muted"], (s) => this.player?.sound.mute(s.muted));
  }

  get clip() {
    return this.store.state.opened?.clip;
  }

  open() {
    const { opened } = this.store.state;
    if (this.openId === opened?.id) return;
    this.openId = opened?.id;
    this.player?.close();
    this.player = null;
    this.shown = undefined;
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    this.say("");
    if (!opened) return this.draw();
    this.player = new Player(opened.id, clockOf(opened.clip), {
      picture: (p) => this.took(p),
      frame: (n) => this.store.set({ frame: clamp(n, 0, opened.clip.frames - 1) }),
      error: (told) => this.refused(told),
      ended: () => this.ended(),
      open: (is) => is || this.say("The connection is lost. Trying again …"),
    });
    this.player.sound.there = opened.clip.audio;
    this.player.sound.mute(this.store.state.muted);
    this.ask();
  }

  /** The part that is seen, in display pixels; null for all of it. @returns {Box | null} */
  box() {
    const clip = this.clip;
    if (!clip || this.zoom <= 1.001) return null;
    const view = this.geometry();
    const w = Math.min(clip.width, view.w / view.scale);
    const h = Math.min(clip.height, view.h / view.scale);
    const x = clamp(this.centre[0] * clip.width - w / 2, 0, clip.width - w);
    const y = clamp(this.centre[1] * clip.height - h / 2, 0, clip.height - h);
    return [Math.round(x), Math.round(y), Math.max(16, Math.round(w)), Math.max(16, Math.round(h))];
  }

  /** Where a picture is drawn: size of its place, and screen pixels for a display pixel. */
  geometry() {
    const clip = /** @type {import("./types.js").Clip} */ (this.clip);
    const side = this.store.state.view === "side";
    const w = side ? this.canvas.width / 2 - 2 : this.canvas.width;
    const h = this.canvas.height;
    const scale = Math.min(w / clip.width, h / clip.height) * this.zoom;
    return { w, h, scale };
  }

  wish() {
    const clip = /** @type {import("./types.js").Clip} */ (this.clip);
    const { state } = this.store;
    const box = this.box();
    const { scale } = this.geometry();
    const wide = Math.round((box ? box[2] : clip.width) * Math.min(scale, 2));
    const chosen = state.view === "split" || state.view === "side" ? "both" : state.view;
    return {
      frame: state.frame, view: chosen, box,
      width: clamp(Math.round(wide / 16) * 16, 160, Math.min(MOST_WIDTH, Math.max(160, box ? MOST_WIDTH : clip.width))),
      project: chosen === "before" ? null : state.project,
    };
  }

  request() {
    if (!this.player || !this.clip || this.store.state.playing || !this.canvas.width) return;
    const wish = this.wish();
    const key = JSON.stringify(wish);
    if (key !== this.wished) {
      this.wished = key;
      this.player.show(wish);
      this.canvas.dataset.asked = String(this.player.main.number);
      this.waiting = performance.now();
    }
  }

  /** @param {Picture} p */
  took(p) {
    if (this.failed) {
      this.failed = false;
      this.say("");
    }
    this.shown?.image.close();
    this.shown = p;
    this.canvas.dataset.shown = String(p.id);
    this.canvas.dataset.frame = String(p.frame);
    const now = performance.now();
    this.stats.times = [...this.stats.times.filter((t) => now - t < 1000), now];
    this.draw();
  }

  /** @param {any} told */
  refused(told) {
    this.failed = true;
    this.wished = "";
    if (this.store.state.playing) this.pause();
    const text = `${told.subject}: ${String(told.problem).replace(/\.$/, "")}. ${told.advice ?? ""}`;
    const way = /not analysed/.test(told.problem) ? "analyse" : /not installed/.test(told.problem) ? "models" : "";
    const names = { analyse: "Analyse", models: "Models" };
    this.say(text, way ? button({ text: names[way], label: names[way], class: "small", run: () => this.onWay?.(way) }) : undefined);
  }

  /** The way out of an error was chosen. @type {((way: "analyse" | "models") => void) | undefined} */
  onWay;

  /** @param {string} text @param {Node} [action] */
  say(text, action) {
    this.note.hidden = !text;
    this.note.replaceChildren(text, ...(action ? [action] : []));
  }

  paint() {
    const g = this.canvas.getContext("2d");
    if (!g) return;
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const clip = this.clip;
    const { view, playing } = this.store.state;
    const both = view === "split" || view === "side";
    this.line.hidden = view !== "split" || !clip;
    this.left.hidden = !clip || (view === "after" || view === "difference" || view === "mask");
    this.right.hidden = !clip || view === "before";
    this.right.textContent = view === "difference" ? "Difference × 4" : view === "mask" ? "Mask" : "After";
    if (!clip) {
      this.info.hidden = true;
      return;
    }
    g.imageSmoothingQuality = "high";
    const { w, h: high, scale } = this.geometry();
    const corner = (/** @type {number} */ ox) => [ox + w / 2 - this.clampedCentre()[0] * clip.width * scale, high / 2 - this.clampedCentre()[1] * clip.height * scale];
    if (view === "side") {
      this.image(g, 0, corner(0), scale, [0, 0, w, high]);
      this.image(g, 1, corner(w + 4), scale, [w + 4, 0, w, high]);
    } else {
      const [x] = corner(0);
      const [from, to] = [Math.max(0, x), Math.min(w, x + clip.width * scale)];
      const at = from + this.at * (to - from);
      if (view === "split") {
        this.image(g, 0, corner(0), scale, [0, 0, at, high]);
        this.image(g, 1, corner(0), scale, [at, 0, w - at, high]);
        this.line.style.left = `${(at / this.canvas.width) * 100}%`;
        this.line.setAttribute("aria-valuenow", String(Math.round(this.at * 100)));
      } else this.image(g, 1, corner(0), scale, [0, 0, w, high]);
    }
    this.viewer.classList.toggle("zoomed", this.zoom > 1.001);
    this.zoomText.textContent = `${Math.round(scale * 100)} %`;
    this.figures(playing);
  }

  clampedCentre() {
    const clip = /** @type {import("./types.js").Clip} */ (this.clip);
    const { w, h: high, scale } = this.geometry();
    const margin = [Math.min(0.5, w / scale / clip.width / 2), Math.min(0.5, high / scale / clip.height / 2)];
    return this.centre.map((c, k) => clamp(c, margin[k], 1 - margin[k]));
  }

  /**
   * Draw the picture at hand, or the half of it that is before (0) or after (1).
   * @param {CanvasRenderingContext2D} g @param {0 | 1} half @param {number[]} corner @param {number} scale @param {number[]} within
   */
  image(g, half, [x, y], scale, within) {
    const p = this.shown;
    if (!p || !this.clip) return;
    g.save();
    g.beginPath();
    g.rect(within[0], within[1], within[2], within[3]);
    g.clip();
    const [bx, by, bw, bh] = p.box ?? [0, 0, this.clip.width, this.clip.height];
    const wide = p.view === "both" ? p.image.width / 2 : p.image.width;
    const left = p.view === "both" ? wide * half : 0;
    g.drawImage(p.image, left, 0, wide, p.image.height, x + bx * scale, y + by * scale, bw * scale, bh * scale);
    g.restore();
  }

  /** @param {boolean} playing */
  figures(playing) {
    const p = this.shown;
    this.info.hidden = !p;
    if (!p) return;
    const wide = p.view === "both" ? p.image.width / 2 : p.image.width;
    const pixels = h("span", { text: `${wide} × ${p.image.height}` });
    const parts = playing
      ? [h("span", { text: `${this.stats.times.length} fps` }), p.dropped > 0 && h("span", { class: "dropped", text: `${p.dropped} dropped` }), pixels]
      : [h("span", { text: `${Math.round(p.ms)} ms` }), pixels];
    this.info.replaceChildren(...parts.filter(Boolean));
  }

  resized() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = this.viewer.getBoundingClientRect();
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.ask();
    this.draw();
  }

  /** @param {View} view */
  choose(view) {
    this.wished = "";
    this.store.set({ view });
  }

  /** @param {number} [speed] */
  play(speed = 1) {
    if (!this.player || !this.clip) return;
    const { state } = this.store;
    const [first, end] = this.range();
    const frame = speed > 0 && (state.frame >= end - 1 || state.frame < first) ? first : state.frame;
    this.playedProject = state.project;
    this.playedView = state.view;
    this.store.set({ playing: true, speed, frame });
    this.player.play({ ...this.wish(), frame }, end - 1, speed);
    this.draw();
  }

  /** Something was changed during playback: go on with it. */
  replay() {
    const { state } = this.store;
    this.playedProject = state.project;
    this.playedView = state.view;
    if (state.speed > 0) this.player?.start({ ...this.wish(), frame: state.frame }, this.range()[1] - 1, state.speed);
    else this.play(state.speed);
  }

  pause() {
    this.player?.halt();
    this.wished = "";
    this.store.set({ playing: false, speed: 1 });
    this.ask();
  }

  ended() {
    const { state } = this.store;
    if (this.loop && state.speed > 0) {
      this.store.set({ frame: this.range()[0] });
      this.play(state.speed);
    } else this.pause();
  }

  /** In and out as frames. @returns {[number, number]} */
  range() {
    return this.rangeOf?.() ?? [0, this.clip?.frames ?? 1];
  }

  /** @param {PointerEvent} e */
  slide(e) {
    e.stopPropagation();
    const clip = this.clip;
    if (!clip) return;
    const r = this.viewer.getBoundingClientRect();
    drag(e, (m) => {
      const ratio = this.canvas.width / r.width;
      const { w, scale } = this.geometry();
      const x = w / 2 - this.clampedCentre()[0] * clip.width * scale;
      const [from, to] = [Math.max(0, x), Math.min(w, x + clip.width * scale)];
      this.at = clamp(((m.clientX - r.left) * ratio - from) / Math.max(1, to - from), 0, 1);
      this.draw();
    });
  }

  /** @param {KeyboardEvent} e */
  slideKey(e) {
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[e.key];
    if (by === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    this.at = clamp(this.at + by * (e.shiftKey ? 5 : 1), 0, 1);
    this.draw();
  }

  /** @param {PointerEvent} e */
  pan(e) {
    if (this.zoom <= 1.001 || !this.clip || e.button !== 0) return;
    const from = this.clampedCentre();
    const ratio = this.canvas.width / this.viewer.getBoundingClientRect().width;
    const { scale } = this.geometry();
    const clip = this.clip;
    drag(e, (_, dx, dy) => {
      this.centre = [from[0] - (dx * ratio) / scale / clip.width, from[1] - (dy * ratio) / scale / clip.height];
      this.moved();
    });
  }

  /** @param {WheelEvent} e */
  wheel(e) {
    if (!this.clip) return;
    e.preventDefault();
    const r = this.viewer.getBoundingClientRect();
    const { w, h: high, scale } = this.geometry();
    const ratio = this.canvas.width / r.width;
    const px = ((e.clientX - r.left) * ratio) % (w + 0.01) - w / 2;
    const py = (e.clientY - r.top) * ratio - high / 2;
    const centre = this.clampedCentre();
    const point = [centre[0] + px / scale / this.clip.width, centre[1] + py / scale / this.clip.height];
    this.zoom = clamp(this.zoom * Math.exp(-e.deltaY * 0.0016), 1, 24);
    const next = this.geometry().scale;
    this.centre = [point[0] - px / next / this.clip.width, point[1] - py / next / this.clip.height];
    this.moved();
  }

  moved() {
    this.centre = this.clip ? this.clampedCentre() : this.centre;
    this.draw();
    if (this.store.state.playing) {
      clearTimeout(this.later);
      this.later = window.setTimeout(() => this.store.state.playing && this.replay(), 200);
    } else this.ask();
  }

  fit() {
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    this.moved();
  }

  oneToOne() {
    if (!this.clip) return;
    const { scale } = this.geometry();
    this.zoom = Math.max(1, this.zoom / scale);
    this.moved();
  }

  /** Where faces are in the frame looked at. @returns {Promise<{track: number, box: Box}[]>} */
  async faces() {
    const { opened, frame, people } = this.store.state;
    if (!opened || !people) return [];
    return (await attempt(() => get(within(opened.id, `/faces?frame=${frame}`)))) ?? [];
  }

  /** @param {HTMLElement} at */
  async faceMenu(at) {
    const faces = await this.faces();
    const items = everybody(this.store.state).map((p) => {
      const face = faces.find((f) => p.tracks.some((t) => t.id === f.track));
      return { text: face ? p.name : `${p.name} (not in this frame)`, icon: "face", disabled: !face, run: () => face && this.toFace(face.box) };
    });
    menu(at, items.length ? items : [{ text: "Nobody is known yet: analyse the clip", disabled: true, run: () => {} }]);
  }

  /** Zoom to the next face of the frame. */
  async nextFace() {
    const faces = await this.faces();
    if (!faces.length) return;
    this.faceNumber = ((this.faceNumber ?? -1) + 1) % faces.length;
    this.toFace(faces[this.faceNumber].box);
  }

  /** @param {Box} box */
  toFace([x, y, w, high]) {
    const clip = this.clip;
    if (!clip) return;
    this.zoom = 1;
    const place = this.geometry();
    const wanted = (Math.min(place.w, place.h) * 0.6) / Math.max(w, high, 8);
    this.zoom = clamp(wanted / place.scale, 1, 24);
    this.centre = [(x + w / 2) / clip.width, (y + high / 2) / clip.height];
    this.moved();
  }
}
