// @ts-check
/** The page's one state: who listens to what, the history of the project, and saving it. */
import { call, Failure, get, within } from "./api.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Project} Project */

const DEPTH = 200;
const SAVE_AFTER = 350;
const SAME_EDIT = 900;

/** Keeps the state, tells listeners which parts changed, and saves the project after each change. */
export class Store {
  constructor() {
    /** @type {State} */
    this.state = {
      opened: null,
      project: null,
      people: null,
      schema: null,
      defaults: {},
      models: [],
      jobs: [],
      frame: 0,
      playing: false,
      speed: 1,
      view: "split",
      scope: { kind: "clip" },
      saving: "saved",
      pool: [],
      moment: -1,
      muted: false,
      place: "clip",
      live: { source: "browser", camera: "", microphone: "none", file: "", address: "", cast: [], off: false, settings: {}, mirror: false, view: "after", folder: "", target: "" },
      liveSchema: null,
      liveScope: { kind: "live" },
      air: { phase: "idle", sends: false, told: null, seen: false, problem: null },
    };
    /** @type {{keys: Set<string>, run: (state: State) => void}[]} */
    this.listeners = [];
    /** @type {Set<string>} */
    this.changed = new Set();
    /** @type {{project: Project, label: string}[]} */
    this.past = [];
    /** @type {{project: Project, label: string}[]} */
    this.future = [];
    this.lastMerge = "";
    this.lastEdit = 0;
    this.timer = 0;
    this.saved = /** @type {Project | null} */ (null);
    /** @type {(newer: any) => void} */
    this.onConflict = () => {};
    /** @type {(error: unknown) => void} */
    this.onFailure = () => {};
  }

  /**
   * Run when one of these parts of the state changed; once now, too.
   * @param {(keyof State | "history")[]} keys
   * @param {(state: State) => void} run
   */
  on(keys, run) {
    this.listeners.push({ keys: new Set(keys), run });
    run(this.state);
  }

  /** @param {Partial<State>} part */
  set(part) {
    for (const [key, value] of Object.entries(part)) {
      const state = /** @type {any} */ (this.state);
      if (state[key] === value) continue;
      state[key] = value;
      this.tell(key);
    }
  }

  /** @param {string} key */
  tell(key) {
    if (this.changed.size === 0) queueMicrotask(() => this.flush());
    this.changed.add(key);
  }

  flush() {
    const changed = this.changed;
    this.changed = new Set();
    for (const { keys, run } of this.listeners) {
      if ([...changed].some((key) => keys.has(key))) run(this.state);
    }
  }

  /**
   * Change the project. Changes with the same `merge` within a second are one step of the history.
   * @param {string} label  What was done, for "Undo ...".
   * @param {(draft: Project) => void} change  Changes the copy that it is given.
   * @param {string} [merge]
   */
  edit(label, change, merge = "") {
    const before = this.state.project;
    if (!before) return;
    const draft = structuredClone(before);
    change(draft);
    if (JSON.stringify(draft) === JSON.stringify(before)) return;
    const now = performance.now();
    if (!(merge && merge === this.lastMerge && now - this.lastEdit < SAME_EDIT && this.past.length)) {
      this.past.push({ project: before, label });
      if (this.past.length > DEPTH) this.past.shift();
    }
    this.lastMerge = merge;
    this.lastEdit = now;
    this.future = [];
    this.tell("history");
    this.put(draft);
  }

  undo() {
    this.travel(this.past, this.future);
  }

  redo() {
    this.travel(this.future, this.past);
  }

  /** @param {{project: Project, label: string}[]} from @param {{project: Project, label: string}[]} to */
  travel(from, to) {
    const step = from.pop();
    if (!step || !this.state.project) return;
    to.push({ project: this.state.project, label: step.label });
    this.lastMerge = "";
    this.tell("history");
    this.put(step.project);
  }

  /** @param {Project} project */
  put(project) {
    this.set({ project, saving: "unsaved" });
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.save(), SAVE_AFTER);
  }

  /** Forget the history: another project, or somebody else's version of this one. @param {Project} project */
  begin(project) {
    clearTimeout(this.timer);
    this.past = [];
    this.future = [];
    this.saved = project;
    this.tell("history");
    this.set({ project, saving: "saved" });
  }

  /** Save what is not saved yet. Resolves when the server has the newest version, or cannot take it. */
  async save() {
    clearTimeout(this.timer);
    while (this.running) await this.running;
    const { opened, project } = this.state;
    if (!opened || !project || this.state.saving === "conflict") return;
    if (project === this.saved) return this.set({ saving: "saved" }); // what was changed was taken back before it was sent
    this.running = this.send(opened.id, project).finally(() => (this.running = null));
    await this.running;
  }

  /** @type {Promise<void> | null} */
  running = null;

  /** @param {string} id @param {Project} project */
  async send(id, project) {
    this.set({ saving: "saving" });
    try {
      const opened = /** @type {import("./types.js").Opened} */ (this.state.opened);
      const answer = await call("PUT", within(id, ""), { revision: opened.revision, project });
      if (this.state.opened?.id !== id) return;
      this.saved = project;
      // Told to nobody: forms are built anew for another project, and would be under the hands of who types.
      this.state.opened.revision = answer.revision;
      this.set({ saving: this.state.project === project ? "saved" : "unsaved" });
      if (this.state.project !== project) this.timer = window.setTimeout(() => void this.save(), SAVE_AFTER);
    } catch (error) {
      if (error instanceof Failure && error.status === 409) {
        this.set({ saving: "conflict" });
        this.onConflict(await get(within(id, "")));
        return;
      }
      this.set({ saving: "failed" });
      this.onFailure(error);
    }
  }

  /** Keep this page's version over a newer one. @param {number} revision Of the newer one. */
  async keepMine(revision) {
    if (!this.state.opened) return;
    this.set({ opened: { ...this.state.opened, revision }, saving: "unsaved" });
    await this.save();
  }
}
