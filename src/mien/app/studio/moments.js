// @ts-check
/** Moments that may look bad, to be looked at one after the other. */
import { post } from "./api.js";
import { addCue, span } from "./cues.js";
import { button, h, icon, renew } from "./dom.js";
import { attempt } from "./overlay.js";
import { everybody } from "./people.js";
import { base, clock } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Moment} Moment */

const NAMES = /** @type {Record<string, string>} */ ({
  unsure: "Unsure landmarks", small: "Very small face", turned: "Turned away", covered: "Covered", missing: "Not seen",
  apart: "Sits badly", lost: "Painted over", marked: "Odd edges", jumps: "Jumps",
});

const OPEN = ["queued", "running", "paused"];

export class Moments {
  /** @param {Store} store @param {HTMLElement} panel @param {HTMLElement} bar  The panel with the list, and the place in the timeline's bar. */
  constructor(store, panel, bar) {
    this.store = store;
    this.panel = panel;
    this.count = h("span", { class: "number muted" });
    /** @type {HTMLElement | undefined} */
    this.looking = undefined;
    this.offered = "";
    bar.append(
      button({ icon: "left", label: "Moment to check before (⇧,)", class: "small", run: () => this.go(-1) }), this.count,
      button({ icon: "right", label: "Next moment to check (⇧.)", class: "small", run: () => this.go(1) }));
    store.on(["people", "moment", "project"], () => this.show());
    store.on(["jobs"], () => this.offer());
  }

  /** Those of people who get a new face, all where nobody does; not those where a cue keeps the original. @returns {Moment[]} */
  list() {
    const { state } = this.store;
    const cast = new Set((state.project?.cast ?? []).filter((p) => !p.off).map((p) => p.person));
    const tracks = new Set(everybody(state).filter((p) => cast.size === 0 || cast.has(p.id)).flatMap((p) => p.tracks.map((t) => t.id)));
    const left = (state.project?.cues ?? []).filter((c) => c.show === 0 && !c.keys?.length).map((c) => ({ c, reach: span(state, c) }));
    const parts = state.project?.cast ?? [];
    const settled = (/** @type {Moment} */ m) => {
      const person = everybody(state).find((p) => p.tracks.some((t) => t.id === m.track))?.id;
      const mine = (/** @type {import("./types.js").Cue} */ c) => !c.roles?.length || c.roles.some((n) => parts[n - 1]?.person === person);
      return left.some(({ c, reach }) => reach[0] <= m.frame && m.end <= reach[1] && mine(c));
    };
    return (state.people?.moments ?? []).filter((m) => tracks.has(m.track) && !settled(m));
  }

  /** @param {1 | -1} by */
  go(by) {
    const list = this.list();
    if (!list.length) return;
    const { frame, moment } = this.store.state;
    const here = list[moment]?.frame === frame ? moment : -1; // several may begin at one frame
    const later = here >= 0 && here + 1 < list.length ? here + 1 : list.findIndex((m) => m.frame > frame);
    const earlier = here > 0 ? here - 1 : list.reduce((found, m, k) => (m.frame < frame ? k : found), -1);
    const at = by > 0 ? (later < 0 ? 0 : later) : earlier < 0 ? list.length - 1 : earlier;
    this.look(at);
  }

  /** @param {number} at */
  look(at) {
    const moment = this.list()[at];
    if (!moment) return;
    this.onSeek?.();
    this.store.set({ moment: at, frame: moment.frame });
  }

  /** @type {(() => void) | undefined} */
  onSeek;

  show() {
    const { state } = this.store;
    const list = this.list();
    const time = clock(state);
    this.count.textContent = list.length ? `${list.length} to check` : state.people ? "Nothing to check" : "Not analysed yet";
    this.onCount?.(list.length);
    const people = everybody(state);
    this.looking = h("div", { class: "look row" });
    this.offered = "";
    renew(this.panel, [this.looking, ...(list.length
      ? [h("ul", { class: "moments" }, list.map((m, k) => {
          const person = people.find((p) => p.tracks.some((t) => t.id === m.track));
          return h("li", { class: k === state.moment ? "chosen" : "", data: { colour: person?.colour ?? "" } },
            h("button", { type: "button", class: "moment", title: m.text, data: { key: `moment-${k}` }, "aria-current": k === state.moment ? "true" : undefined, on: { click: () => this.look(k) } },
              h("img", { src: `/api/projects/${state.opened?.id}/tracks/${m.track}/picture?frame=${m.frame}`, alt: "", loading: "lazy" }),
              h("span", { class: "grow" }, h("strong", { text: NAMES[m.reason] ?? m.reason }), h("span", { class: "muted clip block number", text: `${person?.name ?? ""} · ${time.code(m.frame)}${m.result ? ` · ${base(m.result)}` : ""}` }))),
            button({ icon: "hidden", label: `Keep the original face there: cue at ${time.code(m.frame)}`, title: "Keep the original face there (adds a cue)", class: "small", run: () => this.leave(m) }));
        }))]
      : [h("div", { class: "empty" }, icon("check"), h("p", { text: state.people ? "No moment of the people with new faces looks doubtful." : "After the analysis, moments worth a look are listed here." }))])]);
    this.offer();
  }

  /** Have the latest result looked through, too. */
  offer() {
    const { jobs, opened } = this.store.state;
    const mine = jobs.filter((j) => j.project === opened?.id);
    const busy = mine.find((j) => j.kind === "review" && OPEN.includes(j.state));
    const latest = mine.filter((j) => j.kind === "swap" && j.state === "done").sort((a, b) => (b.ended ?? 0) - (a.ended ?? 0))[0];
    const named = latest && base(latest.output ?? "");
    const state = busy ? `busy ${busy.progress?.done ?? 0}` : latest ? String(latest.id) : "";
    if (state === this.offered || !this.looking) return;
    this.offered = state;
    renew(this.looking, busy
      ? [h("span", { class: "muted grow clip", text: busy.title }), h("progress", { max: busy.progress?.total || 1, value: busy.progress?.done ?? 0, "aria-label": `Progress of ${busy.title}` })]
      : latest
        ? [button({ icon: "flag", text: "Look through the result", label: `Look through ${named} for moments that look bad`, title: `Compares ${named} with the clip, frame by frame`, class: "small", data: { key: "look" }, run: () => void this.through(latest) })]
        : []);
  }

  /** @param {import("./types.js").Line} job */
  async through(job) {
    const line = await attempt(() => post(`/jobs/${job.id}/review`));
    if (line?.id) this.onJob?.(line);
  }

  /** @type {((line: any) => void) | undefined} */
  onJob;

  /** @type {((n: number) => void) | undefined} */
  onCount;

  /** Switch the new face off for a moment. @param {Moment} m */
  leave(m) {
    const person = everybody(this.store.state).find((p) => p.tracks.some((t) => t.id === m.track));
    if (person) this.store.set({ scope: { kind: "person", id: person.id } });
    addCue(this.store, { start: m.frame, end: Math.max(m.end, m.frame + 1), off: true });
  }
}
