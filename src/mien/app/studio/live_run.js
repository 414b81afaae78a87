// @ts-check
/** The page's part in a live run: beginning, changing and ending it, and what the server tells of it. */
import { Failure, get, post, put, remove } from "./api.js";
import { device, pictureSize } from "./camera.js";
import { Link } from "./live_link.js";
import { asked, cast, castOf, constraints, input, kind, missing, named, NOBODY, sourceOf } from "./live_wish.js";
import { attempt, confirm, toast } from "./overlay.js";
import { fields, usual } from "./schema.js";
import { differences, same } from "./values.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Live} Live */
/** @typedef {import("./types.js").Air} Air */
/** @typedef {import("./types.js").Onair} Onair */
/** @typedef {import("./types.js").Told} Told */

/**
 * @typedef {object} Preparing
 * @property {any} was  What was asked for before.
 * @property {{subject: string, message: string}[]} notes  Those that there were.
 * @property {number} looks  How often it was looked whether there is a new one.
 */

const KEPT = "mien-live";
/** Milliseconds between two looks at the server: before the first picture, and then. */
const SOON = 300;
const LATER = 1000;
/** How often it is looked for the reason why a change is not made. */
const LOOKS = 5;
/** How often a broken connection is made again. */
const TRIES = 3;

export class Run {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** Counts beginnings and ends: what is still awaited from before does not count any more. */
    this.turn = 0;
    this.timer = 0;
    /** Whether this page began the run. */
    this.mine = false;
    /** Of the camera's pictures, "1280x720". */
    this.size = "";
    /** @type {Link | null} */
    this.link = null;
    /** @type {MediaStreamTrack | null} */
    this.camera = null;
    /** @type {MediaStreamTrack | null} */
    this.microphone = null;
    /** What the server agreed to last, as the page has it. @type {Live | null} */
    this.good = null;
    /** The same, as the server tells it. @type {Onair | null} */
    this.agreed = null;
    /** What was before a change that is being prepared. @type {Preparing | null} */
    this.preparing = null;
    /** Whether a change waits to be sent. */
    this.changed = false;
    /** @type {Promise<void> | null} */
    this.sending = null;
    this.recall();
    window.addEventListener("pagehide", () => this.leave());
    window.addEventListener("beforeunload", (e) => this.sends && this.outputs().length && e.preventDefault());
  }

  /** The camera as it is; null: it is off. @type {(own: MediaStreamTrack | null) => void} */
  onCamera = () => {};

  /** What comes back. @type {(made: MediaStream | null) => void} */
  onMade = () => {};

  get phase() {
    return this.store.state.air.phase;
  }

  /** Whether this page's camera is the input of what runs. */
  get sends() {
    return this.store.state.air.sends && this.phase === "running";
  }

  /** Where it goes besides to browsers. */
  outputs() {
    return Object.keys(this.store.state.air.told?.pulse?.outputs ?? {}).filter((name) => !name.startsWith("browser "));
  }

  /** Those that are files. */
  recordings() {
    return this.outputs().filter((name) => !name.includes("://") && !name.startsWith("virtual"));
  }

  /** @param {Partial<Air>} part */
  say(part) {
    this.store.set({ air: { ...this.store.state.air, ...part } });
  }

  recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
      delete kept.settings?.feed?.label; // without it is said for one time, not for all
      this.store.set({ live: { ...this.store.state.live, ...kept, off: false } });
    } catch {
      localStorage.removeItem(KEPT);
    }
  }

  /** Change what is wanted; while it runs, at once. @param {(draft: Live) => void} change */
  edit(change) {
    const draft = structuredClone(this.store.state.live);
    change(draft);
    if (same(draft, this.store.state.live)) return;
    this.store.set({ live: draft });
    localStorage.setItem(KEPT, JSON.stringify(draft));
    this.push();
  }

  /** What the server is asked for. */
  wanted() {
    const { live } = this.store.state;
    const { feed = {}, ...settings } = live.settings;
    const size = kind(live) === "browser" ? { size: this.size } : {};
    return { feed: { ...feed, ...size, input: input(live) }, cast: cast(live), settings };
  }

  async start() {
    const { live } = this.store.state;
    const problem = missing(live);
    if (problem) return this.say({ problem });
    const turn = ++this.turn;
    const sends = kind(live) === "browser";
    this.say({ phase: "starting", sends, told: null, seen: false, problem: null });
    try {
      // Where the server cannot take a camera, its own words come before anybody is asked for one.
      if (sends && (await get("/live/devices")).browser) await this.open(turn);
      if (turn !== this.turn) return;
      await this.begin();
      if (turn !== this.turn) return void (await remove("/live"));
      this.good = live;
      await this.join();
    } catch (error) {
      if (turn === this.turn) await this.fail(error);
    }
  }

  /** Open camera and microphone. @param {number} turn */
  async open(turn) {
    const { live } = this.store.state;
    const camera = await device("Camera", constraints(live));
    if (turn !== this.turn) return camera.stop();
    this.take(camera);
    this.size = await pictureSize(camera);
    if (live.microphone === "none" || turn !== this.turn) return;
    const microphone = await device("Microphone", named(live.microphone));
    if (turn === this.turn) this.microphone = microphone;
    else microphone.stop();
  }

  /** @param {MediaStreamTrack} camera */
  take(camera) {
    this.camera?.stop();
    this.camera = camera;
    const gone = { kind: "media", subject: "Camera", problem: "was disconnected", advice: "Connect it again and start anew, or choose another one." };
    camera.addEventListener("ended", () => this.camera === camera && this.say({ problem: gone }));
    this.onCamera(camera);
  }

  /** @throws {Failure} It cannot be. */
  async begin() {
    const ask = async () => {
      this.agreed = await post("/live", this.wanted());
      this.mine = true;
    };
    try {
      await ask();
    } catch (error) {
      const other = error instanceof Failure && error.status === 409 && error.told.subject === "live";
      if (!other || !(await confirm("Live is running already", "There is one live run at a time, and another page or program began one.", "End it and begin"))) throw error;
      await remove("/live");
      await ask();
    }
  }

  /** See a run that somebody else began. */
  async watch() {
    const turn = ++this.turn;
    this.mine = false;
    this.say({ phase: "starting", sends: false, seen: false, problem: null });
    try {
      const told = await get("/live");
      if (turn !== this.turn) return;
      if (!told.running) return this.say({ phase: "idle", told });
      this.adopt(told);
      await this.join();
    } catch (error) {
      if (turn === this.turn) await this.fail(error);
    }
  }

  /** Connect with what runs, and follow it. */
  async join() {
    const turn = this.turn;
    await this.connect();
    if (turn !== this.turn) return;
    this.say({ phase: "running", told: this.agreed });
    this.look();
  }

  async connect() {
    this.link?.close();
    const link = (this.link = new Link((made) => this.link === link && this.onMade(made), () => void this.again(link)));
    await link.connect(this.camera, this.microphone);
  }

  /** Make a broken connection again. @param {Link} broken */
  async again(broken) {
    const turn = this.turn;
    for (let k = 0; k < TRIES && turn === this.turn && this.link === broken; k++) {
      try {
        return await this.connect();
      } catch {
        await new Promise((done) => setTimeout(done, LATER));
      }
    }
    const told = { kind: "media", subject: "Connection", problem: "is lost", advice: "This page and the server must reach each other directly, in one network." };
    if (turn === this.turn) await this.fail(new Failure(told, 0));
  }

  /** Whether something runs that this page has no part in. */
  async find() {
    const told = await get("/live").catch(() => null);
    if (told && this.phase === "idle") this.say({ told });
  }

  /** Whether the page has a picture of what runs. @param {boolean} seen */
  shown(seen) {
    if (this.phase === "starting" || this.phase === "running") this.say({ seen });
  }

  /** Ask the server how it is doing, again and again. */
  look() {
    const turn = this.turn;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(async () => {
      const { agreed } = this;
      const told = await get("/live").catch(() => null); // that the server is gone is said elsewhere
      if (turn !== this.turn) return;
      // What was told before a change says nothing of what comes after it.
      if (told && agreed === this.agreed && !this.sending) this.took(told);
      if (this.phase === "running") this.look();
    }, this.store.state.air.told?.pulse?.made && !this.preparing ? LATER : SOON);
  }

  /** @param {Onair} told */
  took(told) {
    this.say({ told });
    if (!told.running) return this.ended(told);
    if (this.preparing && !told.pulse?.pending) this.settle(told, this.preparing);
  }

  /**
   * A change that had to be prepared counts, or everything is as it was: then the page shows that, and says why.
   * @param {Onair} told @param {Preparing} preparing
   */
  settle(told, preparing) {
    const now = asked(told);
    const refused = same(now, preparing.was) || (this.agreed !== null && !same(now, asked(this.agreed)));
    if (refused && same(told.notes, preparing.notes) && ++preparing.looks < LOOKS) return; // the reason is on its way
    this.preparing = null;
    if (!refused) return;
    const note = told.notes[told.notes.length - 1];
    this.adopt(told);
    if (note) this.say({ problem: { kind: "settings", subject: note.subject, problem: note.message, advice: "" } });
  }

  /** It ended by itself. @param {Onair} told */
  ended(told) {
    this.turn += 1;
    this.say({ phase: "idle", problem: told.error });
    this.release();
    if (!told.error) toast("Live has ended: nothing more comes in.");
  }

  /** Show what a run was asked for. @param {Onair} told */
  adopt(told) {
    const { live, defaults, liveSchema } = this.store.state;
    const from = sourceOf(String(told.feed?.input));
    const settings = differences({ ...told.settings, feed: told.feed ?? {} }, { ...defaults, feed: usual(fields(liveSchema)).feed });
    delete settings.feed?.input;
    if (from.source === "browser") {
      this.size = String(told.feed?.size ?? "");
      delete settings.feed?.size;
    }
    const off = told.cast.length > 0 && told.cast.every((role) => role.faces === NOBODY);
    this.agreed = told;
    this.good = { ...live, ...from, off, settings, cast: castOf(live, told, off) };
    this.store.set({ live: this.good });
  }

  /** Send what has changed; a newer change takes the place of one that waits. */
  push() {
    if (this.phase !== "running") return;
    this.changed = true;
    this.sending ??= this.send().finally(() => (this.sending = null));
  }

  async send() {
    while (this.changed && this.phase === "running") {
      this.changed = false;
      const { live } = this.store.state;
      try {
        const before = { was: this.agreed && asked(this.agreed), notes: this.store.state.air.told?.notes ?? [], looks: 0 };
        const { now, live: told } = await put("/live/settings", this.wanted());
        if (!now) this.preparing ??= before;
        this.good = live;
        this.agreed = told;
        this.say({ told, problem: null });
      } catch (error) {
        if (!this.changed) this.back(error);
      }
    }
  }

  /** A change was refused: the page shows what counts. @param {unknown} error */
  back(error) {
    const { live } = this.store.state;
    const { cast, settings, off } = this.good ?? live;
    this.store.set({ live: { ...live, cast, settings, off } });
    this.say({ problem: problem(error) });
  }

  /** Another camera, or another size or rate of its pictures. */
  async camerachange() {
    const { live } = this.store.state;
    if (!this.sends) return;
    try {
      const now = this.camera?.getSettings().deviceId;
      if (this.camera?.readyState === "live" && (!live.camera || live.camera === now)) return await this.camera.applyConstraints(constraints(live));
      const camera = await device("Camera", constraints(live));
      if (!this.sends) return camera.stop();
      await this.link?.replace("video", camera);
      this.take(camera);
      this.say({ problem: null });
    } catch (error) {
      this.say({ problem: problem(error) });
    }
  }

  /** The camera's pictures have this size from now on. @param {string} size */
  resized(size) {
    if (!this.sends || size === this.size) return;
    this.size = size;
    this.push();
  }

  async microphonechange() {
    const { live } = this.store.state;
    if (!this.sends) return;
    try {
      const microphone = live.microphone === "none" ? null : await device("Microphone", named(live.microphone));
      await this.link?.replace("audio", microphone);
      this.microphone?.stop();
      this.microphone = microphone;
    } catch (error) {
      this.edit((draft) => (draft.microphone = "none"));
      this.say({ problem: problem(error) });
    }
  }

  /** Begin an output. @param {string} name */
  async add(name) {
    this.say({ told: await post("/live/outputs", { name }) });
  }

  /** Finish an output. @param {string} name */
  async drop(name) {
    const files = this.recordings();
    this.say({ told: await remove(`/live/outputs?name=${encodeURIComponent(name)}`) });
    if (files.includes(name)) recorded(name);
  }

  async stop() {
    const begun = this.mine || this.phase === "running" || this.store.state.air.told?.running;
    const files = this.recordings();
    this.turn += 1;
    this.say({ phase: begun ? "stopping" : "idle" });
    this.release();
    if (!begun) return;
    try {
      const told = await remove("/live");
      this.say({ phase: "idle", told, problem: told.error });
      files.forEach(recorded);
    } catch (error) {
      this.say({ phase: "idle", problem: problem(error) });
    }
  }

  /** @param {unknown} error */
  async fail(error) {
    const { mine } = this;
    this.turn += 1;
    this.say({ phase: "idle", told: null, problem: problem(error) });
    this.release();
    if (mine) await remove("/live").catch(() => {}); // what went wrong is said already
  }

  /** Let go of the camera and of the connection. */
  release() {
    clearTimeout(this.timer);
    this.link?.close();
    this.camera?.stop();
    this.microphone?.stop();
    this.link = this.camera = this.microphone = this.good = this.agreed = this.preparing = null;
    this.changed = this.mine = false;
    this.onCamera(null);
    this.onMade(null);
  }

  /** The page goes: what lives from it, or only for it, ends. */
  leave() {
    if (this.sends || (this.mine && !this.outputs().length)) void fetch("/api/live", { method: "DELETE", keepalive: true });
    if (this.phase !== "idle") this.release();
  }
}

/** Say where a recording is. @param {string} name */
function recorded(name) {
  toast(`Recorded: ${name}`, { action: { text: "Copy the path", run: () => void attempt(() => navigator.clipboard.writeText(name)) } });
}

/** What there is to say of an error. @param {unknown} error @returns {Told} */
function problem(error) {
  if (error instanceof Failure) return error.told;
  console.error(error);
  return { kind: "internal", subject: "Live", problem: String(error instanceof Error ? error.message : error), advice: "" };
}
