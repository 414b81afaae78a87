// @ts-check
/** The bar under the picture: time, playing, stepping, sound. */
import { button, h, icon } from "./dom.js";
import { clamp, clock } from "./time.js";

/** @typedef {import("./store.js").Store} Store */

export class Transport {
  /** @param {Store} store @param {import("./stage.js").Stage} stage @param {import("./timeline.js").Timeline} timeline @param {HTMLElement} box */
  constructor(store, stage, timeline, box) {
    this.store = store;
    this.stage = stage;
    this.timeline = timeline;
    stage.rangeOf = () => timeline.range();
    timeline.onSeek = () => store.state.playing && stage.pause();
    this.time = h("input", { type: "text", class: "timecode", "aria-label": "Time at the playhead", on: {
      change: () => {
        const frame = clock(store.state).typed(this.time.value);
        if (frame !== null) this.seek(frame);
        this.time.blur();
        this.refresh();
      },
      focus: () => this.time.select(),
    } });
    this.length = h("span", { class: "muted number" });
    this.playButton = button({ icon: "play", label: "Play (space)", class: "play", run: () => this.toggle() });
    this.loop = button({ icon: "loop", label: "Loop between in and out (⇧L)", pressed: false, run: () => this.toggleLoop() });
    this.mute = button({ icon: "sound", label: "Mute", pressed: false, run: () => store.set({ muted: !store.state.muted }) });
    this.speed = h("span", { class: "chip accent", hidden: true });
    box.append(h("div", { class: "transport", role: "toolbar", "aria-label": "Playback" },
      h("div", { class: "row wide" }, this.time, this.length, this.speed),
      h("div", { class: "row" },
        button({ icon: "first", label: "To the in point (Home)", run: () => this.seek(timeline.range()[0]) }),
        button({ icon: "back", label: "One frame back (←)", run: () => this.step(-1) }),
        this.playButton,
        button({ icon: "forward", label: "One frame on (→)", run: () => this.step(1) }),
        button({ icon: "last", label: "To the out point (End)", run: () => this.seek(timeline.range()[1] - 1) })),
      h("div", { class: "row" }, this.loop, this.mute)));
    store.on(["frame", "playing", "opened", "speed", "muted"], () => this.refresh());
  }

  refresh() {
    const { frame, opened, playing, speed, muted } = this.store.state;
    const time = clock(this.store.state);
    if (document.activeElement !== this.time) this.time.value = time.code(frame);
    this.time.title = `Type a time (${opened?.clip.variable ? "1:02.4" : "1:02:10"}), seconds (62.4) or a frame (1560)`;
    this.length.textContent = opened ? `/ ${time.code(time.frames)}` : "";
    const key = `${playing}`;
    if (this.playButton.dataset.state !== key) {
      this.playButton.dataset.state = key;
      this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
      this.playButton.setAttribute("aria-label", playing ? "Pause (space)" : "Play (space)");
      this.playButton.title = playing ? "Pause (space)" : "Play (space)";
    }
    this.speed.hidden = !playing || speed === 1;
    this.speed.textContent = `${speed < 0 ? "◂ " : ""}${Math.abs(speed)} ×`;
    this.mute.setAttribute("aria-pressed", String(muted));
    this.mute.replaceChildren(icon(muted ? "mute" : "sound"));
    this.mute.disabled = !opened?.clip.audio;
    this.mute.title = opened && !opened.clip.audio ? "The clip has no sound" : muted ? "Sound on" : "Mute";
  }

  /** @param {number} frame */
  seek(frame) {
    const { opened, playing } = this.store.state;
    if (!opened) return;
    if (playing) this.stage.pause();
    this.store.set({ frame: clamp(Math.round(frame), 0, opened.clip.frames - 1) });
  }

  /** @param {number} by */
  step(by) {
    this.seek(this.store.state.frame + by);
  }

  toggle() {
    if (this.store.state.playing) this.stage.pause();
    else this.stage.play(1);
  }

  toggleLoop() {
    this.stage.loop = !this.stage.loop;
    this.loop.setAttribute("aria-pressed", String(this.stage.loop));
  }

  /** J and L: faster each time, the other direction first stops. @param {1 | -1} direction */
  shuttle(direction) {
    const { playing, speed } = this.store.state;
    if (!playing || Math.sign(speed) !== direction) this.stage.play(direction);
    else this.stage.play(direction * Math.min(8, Math.abs(speed) * 2));
  }
}
