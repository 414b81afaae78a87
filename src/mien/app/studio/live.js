// @ts-check
/** The panel of the live camera: what comes in, who becomes whom, where it goes, and settings that count at once. */
import { get } from "./api.js";
import { browse } from "./browse.js";
import { devices } from "./camera.js";
import { button, h, icon, renew } from "./dom.js";
import { LiveCast } from "./live_cast.js";
import { LiveOutputs } from "./live_outputs.js";
import { LiveView } from "./live_view.js";
import { counts, kind, whom } from "./live_wish.js";
import { attempt, menu } from "./overlay.js";
import { fields } from "./schema.js";
import { SettingsPanel } from "./settings.js";
import { base } from "./time.js";
import { differences, dropOwn, read, write } from "./values.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./live_run.js").Run} Run */
/** @typedef {import("./types.js").Told} Told */
/** @typedef {import("./schema.js").Field} Field */

const SCOPE = /** @type {const} */ ({ kind: "live" });
const WAYS = [
  { value: "live", text: "All", label: "Settings for everybody" },
  { value: "role", text: "Person", label: "Settings of one person" },
];
/** Settings that the camera itself must follow. */
const CAMERA = ["feed.size", "feed.fps"];
/** By how much a key changes the strength. */
const STEP = 0.1;
/** Notes that are shown. */
const NOTES = 3;

export class LivePanel {
  /** @param {Store} store @param {Run} run @param {HTMLElement} panel @param {HTMLElement} stage @param {{leave: () => void, models: () => void}} ways */
  constructor(store, run, panel, stage, ways) {
    this.store = store;
    this.run = run;
    this.ways = ways;
    /** Cameras of the server. @type {readonly string[]} */
    this.cameras = [];
    this.listed = ""; // what is shown already: what has not changed is not built anew under the pointer
    this.shown = "";
    this.complained = "";
    /** @type {SettingsPanel | undefined} */
    this.settings = undefined;
    this.listedNotes = "";
    /** How many of the notes were dismissed. */
    this.dismissed = 0;
    this.go = button({ icon: "play", text: "Start", label: "Start", class: "main", data: { key: "go" }, run: () => void this.toggle() });
    this.view = new LiveView(store, run, stage, ways.leave);
    this.head(panel);
    this.inputs(panel);
    this.cast = new LiveCast(store, run, panel, this.view.made);
    this.outputs = new LiveOutputs(store, run, panel);
    this.view.onRecord = () => this.outputs?.toggle();
    this.place = h("div", { class: "live-form" });
    panel.append(this.place);
    store.on(["live", "air", "liveSchema"], () => this.show());
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.list());
  }

  /** Start, stop, and what there is to say. @param {HTMLElement} panel */
  head(panel) {
    const { run } = this;
    this.state = h("span", { class: "grow muted", role: "status" });
    this.problem = h("div", { class: "live-problem", role: "alert" });
    this.other = h("div", { class: "live-problem other", hidden: true },
      h("p", { text: "Another page or program has a live run." }),
      h("div", { class: "row" }, button({ text: "Watch it", label: "Watch it", class: "small", run: () => void run.watch() }), button({ text: "End it", label: "End it", class: "small", run: () => void run.stop() })));
    this.notes = h("ul", { class: "grow", "aria-label": "Notes" });
    this.noted = h("div", { class: "row live-notes", role: "status", hidden: true }, this.notes, button({ icon: "close", label: "Dismiss the notes", class: "small", run: () => {
      this.dismissed = this.store.state.air.told?.notes.length ?? 0;
      this.show();
    } }));
    panel.append(h("div", { class: "live-head" }, h("div", { class: "row wide" }, this.go, this.state), this.problem, this.other), this.noted);
  }

  /** What comes in. @param {HTMLElement} panel */
  inputs(panel) {
    const { run } = this;
    this.source = h("select", { id: "live-source", on: { change: () => this.choose(this.source.value) } });
    this.microphone = h("select", { id: "live-microphone", on: { change: () => {
      run.edit((draft) => (draft.microphone = this.microphone.value));
      void run.microphonechange();
    } } });
    this.file = h("span", { class: "clip grow muted" });
    this.address = h("input", { type: "text", id: "live-address", spellcheck: "false", placeholder: "rtsp://192.168.1.20/stream", on: { change: () => run.edit((draft) => (draft.address = this.address.value.trim())) } });
    this.parts = {
      browser: h("div", { class: "setting" }, h("label", { for: "live-microphone", text: "Microphone" }), this.microphone),
      file: h("div", { class: "row" }, icon("film"), this.file, button({ text: "Choose", label: "Choose the video file", class: "small", run: () => void this.browse() })),
      stream: h("div", { class: "setting" }, h("label", { for: "live-address", text: "Address" }), this.address),
    };
    panel.append(h("section", { class: "column", "aria-label": "What comes in" },
      h("div", { class: "setting" }, h("label", { for: "live-source", text: "Camera" }), this.source), ...Object.values(this.parts)));
  }

  /** The panel is looked at. */
  async open() {
    if (!this.store.state.liveSchema) {
      const schema = await attempt(() => get("/live/schema"));
      if (schema) this.store.set({ liveSchema: schema });
    }
    this.settings ??= new SettingsPanel(this.store, this.place, this.form());
    if (this.run.phase === "idle") await this.run.find();
    await Promise.all([this.list(), this.outputs.place()]);
  }

  /** Read anew which cameras and microphones there are. Nobody is asked for permission by it. */
  async list() {
    const [found, cameras, microphones] = await Promise.all([
      get("/live/devices").catch(() => null), devices("videoinput"), devices("audioinput")]);
    this.cameras = found?.cameras ?? [];
    this.own = { cameras, microphones };
    this.listed = "";
    this.show();
  }

  show() {
    const { live, air } = this.store.state;
    const running = air.phase === "running";
    this.sources();
    for (const [name, node] of Object.entries(this.parts ?? {})) node.hidden = kind(live) !== name;
    this.file.textContent = live.file ? base(live.file) : "No file is chosen";
    this.file.title = live.file;
    if (document.activeElement !== this.address) this.address.value = live.address;
    const busy = air.phase !== "idle";
    if (this.shown !== air.phase) {
      this.shown = air.phase;
      const text = { idle: "Start", starting: "Cancel", running: "Stop", stopping: "Ending …" }[air.phase];
      renew(this.go, [icon(busy ? "stop" : "play"), text]);
      if (running) void this.list(); // browsers name cameras once one was allowed
    }
    this.other.hidden = busy || !air.told?.running;
    const told = this.told();
    if (this.state.textContent !== told) this.state.textContent = told; // what is written is read out
    this.complain(air.problem);
    if (air.phase === "starting") this.dismissed = 0;
    this.note(busy ? air.told?.notes.slice(this.dismissed).slice(-NOTES) ?? [] : []);
  }

  /** @param {{subject: string, message: string}[]} notes */
  note(notes) {
    const { problem } = this.store.state.air;
    const lines = notes.filter((note) => note.message !== problem?.problem).map((note) => `${note.subject}: ${note.message.replace(/\.$/, "")}.`);
    this.noted.hidden = lines.length === 0;
    if (this.listedNotes === lines.join("\n")) return;
    this.listedNotes = lines.join("\n");
    renew(this.notes, lines.map((text) => h("li", { class: "warn small", text })));
  }

  /** In a few words, how it is. */
  told() {
    const { air } = this.store.state;
    const pulse = air.told?.pulse;
    if (air.phase === "starting") return "Starting …";
    if (air.phase !== "running") return "";
    if (air.told?.phase === "ending") return "Ending …";
    // A picture may be here before the server's next word of how it is doing.
    if (!pulse?.made) return air.seen ? "Live" : air.told?.phase === "waiting" ? "Waiting for the first picture …" : "Getting ready …";
    const faces = `${pulse.faces} ${pulse.faces === 1 ? "face" : "faces"} changed`;
    return this.store.state.live.off ? "New face is off" : pulse.faces ? faces : "Live, but no face is seen";
  }

  /** @param {Told | null} told */
  complain(told) {
    const text = told ? `${told.subject}: ${told.problem.replace(/\.$/, "")}.` : "";
    const key = `${text} ${told?.advice ?? ""}`;
    if (this.complained === key) return;
    this.complained = key;
    const models = told && told.kind !== "runtime" && /not installed|not accepted/.test(told.problem);
    this.problem.replaceChildren(...(told ? [h("p", { class: "bad", text }), told.advice && h("p", { class: "muted", text: told.advice.replace(/`/g, "") }),
      models && button({ text: "Models", label: "Models", class: "small", run: this.ways.models })].filter(Boolean) : []));
    if (told?.subject === "New face") this.cast?.focus();
  }

  /** The choice of cameras and other inputs. */
  sources() {
    const { live, air } = this.store.state;
    const browser = kind(live) === "browser";
    const busy = air.phase !== "idle";
    const { cameras = [], microphones = [] } = this.own ?? {};
    const chosen = browser ? `browser:${cameras.some((c) => c.id === live.camera) ? live.camera : ""}` : live.source;
    const key = JSON.stringify([chosen, busy, cameras, microphones, this.cameras, live.microphone]);
    if (this.listed === key) return;
    this.listed = key;
    const option = (/** @type {string} */ value, /** @type {string} */ text) => h("option", { value, text });
    // What comes in from the page cannot become something else in the middle of a run, nor the other way round.
    const own = h("optgroup", { label: "This browser", disabled: busy && !browser }, option("browser:", cameras.length ? "Default camera" : "Camera of this device"), cameras.map((c) => option(`browser:${c.id}`, c.name)));
    const away = this.cameras.map((name) => option(name, name));
    const rest = h("optgroup", { label: "The server's machine", disabled: busy && browser }, option("camera", "First camera"), away, option("file", "Video file"), option("stream", "Stream from the network"));
    const known = ["camera", "file", "stream", ...this.cameras].includes(live.source) || browser;
    this.source.replaceChildren(own, rest, ...(known ? [] : [option(live.source, live.source)]));
    this.source.value = chosen;
    this.microphone.replaceChildren(option("none", "None"), option("", microphones.length ? "Default microphone" : "Microphone of this device"), ...microphones.map((m) => option(m.id, m.name)));
    this.microphone.value = live.microphone === "none" || microphones.some((m) => m.id === live.microphone) ? live.microphone : "";
  }

  /** @param {string} value */
  choose(value) {
    const own = value.startsWith("browser:");
    this.run.edit((draft) => {
      draft.source = own ? "browser" : value;
      if (own) draft.camera = value.slice("browser:".length);
    });
    if (own) void this.run.camerachange();
  }

  async browse() {
    const chosen = await browse({ title: "Choose a video", kinds: ["video"] });
    if (chosen?.[0]) this.run.edit((draft) => (draft.file = chosen[0]));
  }

  async toggle() {
    if (this.run.phase === "idle") await this.run.start();
    else if (this.run.phase !== "stopping") await this.run.stop();
  }

  /** The form of settings. @returns {import("./settings.js").Own} */
  form() {
    const { store, run } = this;
    return {
      scope: () => this.scope(),
      ways: WAYS,
      choose: (way, at) => this.settingsFor(way, at),
      about: (scope) => (scope.kind === "role" ? this.about(scope.index) : []),
      schema: "liveSchema",
      parts: ["live", "liveScope", "defaults"],
      shows: (f) => counts(store.state.live, f.full),
      change: (f, value) => this.set(f, value, this.scope()),
      holder: () => this.holder(),
    };
  }

  /** What the form changes; where somebody is gone, all. @returns {import("./types.js").Scope} */
  scope() {
    const { liveScope: scope, live } = this.store.state;
    return scope.kind === "role" && live.cast[scope.index]?.sources.length ? scope : SCOPE;
  }

  /** @param {string} way @param {HTMLElement} at */
  settingsFor(way, at) {
    if (way === "live") return this.store.set({ liveScope: SCOPE });
    const given = this.store.state.live.cast.map((role, index) => ({ role, index })).filter(({ role }) => role.sources.length);
    menu(at, given.length
      ? given.map(({ role, index }) => ({ text: `New face ${index + 1}: ${base(role.sources[0])}`, icon: "face", run: () => this.store.set({ liveScope: { kind: "role", index } }) }))
      : [{ text: "No new face yet: choose one above", disabled: true, run: () => {} }]);
  }

  /** @param {number} index */
  about(index) {
    const role = this.store.state.live.cast[index];
    const name = /\d/.test(role.faces) && !role.like.length ? whom(role.faces) : `New face ${index + 1}`;
    return [h("p", {}, h("strong", { text: name }), h("span", { class: "muted", text: ": changes here count for who gets this face only." }))];
  }

  /** @returns {import("./presets.js").Holder} */
  holder() {
    const { store, run } = this;
    const scope = this.scope();
    return {
      reset: scope.kind === "role" ? "Reset all settings here" : "Reset all settings of live",
      all: () => {
        const { feed: _, ...settings } = store.state.live.settings; // presets are for clips, too
        return settings;
      },
      none: () => run.edit((draft) => {
        if (scope.kind === "role") dropOwn(draft.cast[scope.index]);
        else draft.settings = {};
      }),
      load: (_, settings) => {
        const before = store.state.live.settings;
        run.edit((draft) => (draft.settings = { ...differences(settings, store.state.defaults), ...(before.feed ? { feed: before.feed } : {}) }));
        return () => run.edit((draft) => (draft.settings = before));
      },
    };
  }

  /** @param {Field} f @param {import("./types.js").Value | undefined} value @param {import("./types.js").Scope} [scope] */
  set(f, value, scope = SCOPE) {
    this.run.edit((draft) => write(this.store.state, draft, scope, f, value));
    if (CAMERA.includes(f.full)) void this.run.camerachange();
  }

  /** A setting by its full name. @param {string} full */
  field(full) {
    return fields(this.store.state.liveSchema).flatMap((g) => g.fields).find((f) => f.full === full);
  }

  /** What keys do while this is seen; the letters are those of `mien live`. @returns {Record<string, () => void>} */
  keys() {
    const { run, store, view } = this;
    const stronger = (/** @type {number} */ by) => () => {
      const f = this.field("swap.strength");
      if (f) this.set(f, Number(Math.min(f.most ?? 1, Math.max(f.least ?? 0, Number(read(store.state, SCOPE, f).value) + by)).toFixed(2)));
    };
    const flip = (/** @type {string} */ full) => () => {
      const f = this.field(full);
      if (f) this.set(f, !read(store.state, SCOPE, f).value);
    };
    return {
      " ": () => run.edit((draft) => (draft.off = !draft.off)),
      "+": stronger(STEP), "=": stronger(STEP), "-": stronger(-STEP),
      s: flip("feed.statistics"), l: flip("feed.label"),
      m: () => run.edit((draft) => (draft.mirror = !draft.mirror)),
      f: () => view.fullscreen(),
      1: () => run.edit((draft) => (draft.view = "after")),
      2: () => run.edit((draft) => (draft.view = "side")),
    };
  }
}
