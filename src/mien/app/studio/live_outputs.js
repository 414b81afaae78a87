// @ts-check
/** Where a live run goes besides this page: recordings, a virtual camera, streams. */
import { get } from "./api.js";
import { browse } from "./browse.js";
import { button, h, icon } from "./dom.js";
import { outputName, recording } from "./live_wish.js";
import { attempt, toast } from "./overlay.js";
import { span } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./live_run.js").Run} Run */

export class LiveOutputs {
  /** @param {Store} store @param {Run} run @param {HTMLElement} box */
  constructor(store, run, box) {
    this.store = store;
    this.run = run;
    /** What is shown of each output, and when it began, in seconds of the run. @type {Map<string, {node: HTMLElement, began: number}>} */
    this.lines = new Map();
    this.count = 0;
    this.name = h("input", { type: "text", id: "live-name", placeholder: "named by date and time", spellcheck: "false" });
    this.where = h("span", { class: "clip grow muted" });
    this.record = button({ icon: "record", text: "Record", label: "Record", run: () => void this.file() });
    this.virtual = button({ icon: "camera", text: "Virtual camera", label: "Virtual camera", run: () => void this.begin("virtual") });
    this.target = h("input", { type: "text", id: "live-target", placeholder: "rtmp://server/live/key", value: store.state.live.target, spellcheck: "false", on: { change: () => run.edit((draft) => (draft.target = this.target.value.trim())) } });
    this.stream = button({ icon: "upload", text: "Send", label: "Send as a stream", run: () => void this.send() });
    this.list = h("ul", { class: "jobs", "aria-label": "Outputs" });
    this.node = h("details", { class: "group live-outputs" }, h("summary", {}, icon("right"), h("span", { class: "grow", text: "Record and send" })), h("div", { class: "column" }, this.list,
      h("div", { class: "setting" }, h("label", { for: "live-name", text: "Recording" }), h("div", { class: "row" }, this.name, this.record)),
      h("div", { class: "row" }, icon("folder"), this.where, button({ text: "Change", label: "Change the folder of recordings", class: "small", run: () => void this.move() })),
      h("div", { class: "setting" }, h("label", { for: "live-target", text: "Stream" }), h("div", { class: "row" }, this.target, this.stream)),
      h("div", { class: "row wide" }, this.virtual, h("span", { class: "muted small", text: "for other programs on the server's machine" }))));
    box.append(this.node);
    store.on(["air", "live"], () => this.show());
  }

  /** The folder of recordings: the one chosen, or the first that is allowed. */
  async place() {
    const about = await attempt(() => get("/about"));
    const { folder } = this.store.state.live;
    const [uploads, first] = about?.folders ?? [];
    if (!uploads || (folder && about.folders.some((/** @type {string} */ allowed) => folder.startsWith(allowed)))) return;
    this.run.edit((draft) => (draft.folder = first ?? uploads));
  }

  async move() {
    const chosen = await browse({ title: "Folder for recordings", kinds: [], folder: true, start: this.store.state.live.folder });
    if (chosen?.[0]) this.run.edit((draft) => (draft.folder = chosen[0]));
  }

  show() {
    const { live, air } = this.store.state;
    const running = air.phase === "running";
    const pulse = air.told?.pulse;
    const names = running ? this.run.outputs() : [];
    if (names.length > this.count) this.node.open = true; // what begins is seen, and how to end it
    this.count = names.length;
    this.where.textContent = this.where.title = live.folder;
    for (const node of [this.record, this.stream]) {
      node.disabled = !running;
      node.title = running ? "" : "Start first";
    }
    this.virtual.disabled = !running || names.includes("virtual");
    this.list.hidden = names.length === 0;
    for (const [name, { node }] of this.lines) {
      if (names.includes(name)) continue;
      node.remove();
      this.lines.delete(name);
    }
    for (const name of names) this.line(name, /** @type {NonNullable<typeof pulse>} */ (pulse));
  }

  /** @param {string} name @param {import("./types.js").Pulse} pulse */
  line(name, pulse) {
    const { frames, dropped, delay } = pulse.outputs[name];
    let line = this.lines.get(name);
    if (!line) {
      line = { node: this.output(name), began: pulse.seconds };
      this.lines.set(name, line);
      this.list.append(line.node);
    }
    /** @type {HTMLElement} */ (line.node.lastElementChild).textContent = `${span(pulse.seconds - line.began)} · ${frames} pictures · ${dropped} left out · ${Math.round(delay.median)} ms`;
  }

  /** @param {string} name @returns {HTMLElement} */
  output(name) {
    const kind = name === "virtual" ? "camera" : name.includes("://") ? "upload" : "record";
    const done = { camera: "Switch off", upload: "Stop", record: "Finish" }[kind];
    return h("li", { class: "job" },
      h("div", { class: "row" }, icon(kind), h("span", { class: "grow clip", text: outputName(name), title: name }),
        button({ text: done, label: `${done}: ${outputName(name)}`, class: "small", run: () => void this.end(name) })),
      h("span", { class: "muted small number" }));
  }

  /** Finish the recording that there is, or begin one. */
  toggle() {
    const [name] = this.run.recordings();
    return name ? this.end(name) : this.file();
  }

  async file() {
    const { folder } = this.store.state.live;
    const slash = folder.includes("\\") ? "\\" : "/";
    const name = this.name.value.trim() || recording();
    const begun = await this.begin(`${folder.replace(/[\\/]$/, "")}${slash}${/\.\w{2,4}$/.test(name) ? name : `${name}.mp4`}`);
    if (begun) this.name.value = "";
  }

  send() {
    const address = this.target.value.trim();
    if (!/^[a-z][a-z0-9+.-]*:\/\/./i.test(address)) {
      this.target.focus();
      return toast("The stream has no address.", { bad: true, advice: "Type one such as rtmp://server/live/key." });
    }
    return this.begin(address);
  }

  /** @param {string} name @returns {Promise<boolean>} Whether the server took it. */
  async begin(name) {
    return Boolean(await attempt(async () => {
      await this.run.add(name);
      return true;
    }));
  }

  /** @param {string} name */
  async end(name) {
    await attempt(() => this.run.drop(name));
  }
}
