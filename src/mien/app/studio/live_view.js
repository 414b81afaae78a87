// @ts-check
/** The live picture in the middle of the page: the result, the camera beside it, and what can be switched quickly. */
import { sizeText } from "./camera.js";
import { button, h, icon, press, renew, segmented } from "./dom.js";
import { kind } from "./live_wish.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./live_run.js").Run} Run */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Pulse} Pulse */

const VIEWS = [
  { value: "after", icon: "after", label: "New face (1)" },
  { value: "side", icon: "side", label: "Side by side with the camera (2)" },
];

export class LiveView {
  /** @param {Store} store @param {Run} run @param {HTMLElement} box @param {() => void} leave  Back to where one came from. */
  constructor(store, run, box, leave) {
    this.store = store;
    this.run = run;
    this.said = "";
    /** Pictures left out before the first one was seen: nothing was ready then. @type {number | null} */
    this.before = null;
    this.views = segmented("View", VIEWS, store.state.live.view, (value) => run.edit((draft) => (draft.view = value === "side" ? "side" : "after")));
    this.mirror = button({ icon: "mirror", label: "Mirror what is seen here (M)", title: "Mirror (M): here only, what goes out is as the camera has it", pressed: false, run: () => run.edit((draft) => (draft.mirror = !draft.mirror)) });
    this.face = button({ icon: "face", text: "New face", label: "Show the new face (space)", pressed: true, run: () => run.edit((draft) => (draft.off = !draft.off)) });
    this.sound = button({ icon: "mute", label: "Listen", title: "Listen to the sound of the result", pressed: false, run: () => this.listen(this.made.muted) });
    this.record = button({ icon: "record", label: "Record", class: "record", pressed: false, run: () => void this.onRecord?.() });
    this.full = button({ icon: "fit", label: "Full screen (F)", run: () => this.fullscreen() });
    this.mark = h("span", { class: "chip", role: "status" });
    this.back = button({ icon: "close", label: "Back", run: leave });
    this.own = video("The camera without a new face");
    this.made = video("The result");
    this.own.addEventListener("resize", () => {
      this.shape();
      run.resized(sizeText(this.own));
    });
    this.made.addEventListener("resize", () => {
      this.shape();
      this.show();
      run.shown(this.made.videoWidth > 0);
    });
    this.readable = h("span", { class: "corner readable", text: "AI-edited" });
    this.panes = {
      own: h("div", { class: "live-pane own" }, this.own, h("span", { class: "corner left", text: "Camera" })),
      made: h("div", { class: "live-pane made" }, this.made, this.readable),
    };
    this.words = h("div", { class: "live-words empty" });
    this.stats = h("div", { class: "stats", role: "group", "aria-label": "Live figures" });
    this.note = h("div", { class: "stage-note", role: "status", hidden: true, text: "A change is being made ready …" });
    this.viewer = h("div", { class: "live-viewer" }, this.panes.own, this.panes.made, this.words, this.stats, this.note);
    this.node = h("section", { class: "live-view", "aria-label": "Live picture" },
      h("div", { class: "view-bar" }, this.views, this.mirror, this.face, this.sound, this.record, h("span", { class: "grow" }), this.mark, this.full, this.back), this.viewer);
    box.append(this.node);
    run.onCamera = (track) => show(this.own, track && new MediaStream([track]), () => this.show());
    run.onMade = (stream) => show(this.made, stream, () => this.show());
    store.on(["live", "air", "opened", "liveSchema"], () => this.show());
  }

  /** Begin or finish a recording. @type {(() => any) | undefined} */
  onRecord;

  show() {
    const { live, air, opened } = this.store.state;
    const recorded = this.run.recordings().length > 0;
    this.record.disabled = air.phase !== "running";
    this.record.setAttribute("aria-pressed", String(recorded));
    this.record.title = recorded ? "Finish the recording" : "Record";
    const there = this.made.videoWidth > 0 && air.phase !== "idle";
    const side = live.view === "side" && Boolean(this.own.srcObject);
    press(this.views, side ? "side" : "after");
    const [, both] = this.views.querySelectorAll("button");
    both.disabled = kind(live) !== "browser" || (air.phase === "running" && !air.sends);
    both.title = both.disabled ? "Side by side: only with the camera of this page" : VIEWS[1].label;
    this.mirror.setAttribute("aria-pressed", String(live.mirror));
    this.face.setAttribute("aria-pressed", String(!live.off));
    this.viewer.classList.toggle("mirrored", live.mirror);
    this.viewer.classList.toggle("beside", side);
    this.panes.own.hidden = !side;
    this.panes.made.hidden = !there;
    this.words.hidden = there;
    this.note.hidden = !(there && air.told?.pulse?.pending);
    const label = opened ? "Back to the clip" : "Back to the beginning";
    this.back.setAttribute("aria-label", label);
    this.back.title = label;
    this.say();
    this.marks();
    this.figures(there ? air.told?.pulse : null);
  }

  /** Give the places of the pictures their shape. */
  shape() {
    const { videoWidth, videoHeight } = this.made.videoWidth ? this.made : this.own;
    if (!videoHeight) return;
    this.viewer.style.setProperty("--ratio", String(videoWidth / videoHeight));
    this.viewer.style.setProperty("--line", String((100 * Math.max(14, Math.round(videoHeight / 28))) / videoHeight));
  }

  /** What is to be seen where there is no picture. */
  say() {
    const { air } = this.store.state;
    const text = {
      idle: ["camera", "Nothing is live. Choose a camera and a new face on the right, and press Start."],
      starting: ["camera", "Starting. If the browser asks, allow the camera …"],
      running: ["face", words(air.told)],
      stopping: ["camera", "Ending …"],
    }[air.phase];
    if (this.said === text[1]) return;
    this.said = text[1];
    renew(this.words, [icon(text[0]), h("p", { text: text[1] })]);
  }

  /** Whether the picture says what it is: as the server has it while it runs. */
  marks() {
    const { live, air } = this.store.state;
    const feed = air.phase === "running" ? air.told?.feed : live.settings.feed;
    const on = feed?.label !== false;
    const text = on ? "AI-edited label on" : "No AI-edited label";
    this.mark.className = `chip ${on ? "good" : "warn"}`;
    if (this.mark.textContent !== text) this.mark.textContent = text; // what is written is read out
    this.mark.title = on
      ? "The picture says that it was edited. Recordings and streams say it in their data, too."
      : "The picture does not say that it was edited; a virtual camera and this page show no mark at all. Recordings and streams still say it in their data.";
    this.readable.hidden = !(on && live.mirror && !this.panes.made.hidden);
  }

  /** @param {Pulse | null | undefined} pulse */
  figures(pulse) {
    this.stats.hidden = !pulse;
    if (!pulse) {
      this.before = null;
      return;
    }
    const left = pulse.dropped - (this.before ??= pulse.dropped);
    this.stats.replaceChildren(
      h("span", { text: `${pulse.fps.toFixed(1)} fps`, title: "Pictures a second that go out" }),
      h("span", { text: `${Math.round(pulse.delay.median)} ms`, title: "From the picture's coming in to its new face" }),
      h("span", { text: `${left} left out`, class: left ? "dropped" : "", title: "Pictures that newer ones took the place of, since the first one that is seen here" }),
      h("span", { text: `${this.made.videoWidth} × ${this.made.videoHeight}` }));
  }

  /** @param {boolean} on */
  listen(on) {
    this.made.muted = !on;
    this.sound.setAttribute("aria-pressed", String(on));
    this.sound.replaceChildren(icon(on ? "sound" : "mute"));
  }

  fullscreen() {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void this.viewer.requestFullscreen?.();
  }
}

/** What is waited for. @param {import("./types.js").Onair | null} told */
function words(told) {
  if (told?.phase === "ending") return "Ending …";
  if (told?.pulse?.captured) return "The first picture is being made …";
  return told?.phase === "waiting" ? "Everything is ready. Nothing has come in yet: waiting for the first picture …" : "Networks and faces are being made ready …";
}

/** @param {string} label @returns {HTMLVideoElement} */
const video = (label) => h("video", { autoplay: true, playsinline: true, muted: true, "aria-label": label });

/** @param {HTMLVideoElement} node @param {MediaStream | null} stream @param {() => void} then */
function show(node, stream, then) {
  if (node.srcObject !== stream) node.srcObject = stream;
  then();
}
