// @ts-check
/** Moments that may look bad, to be looked at one after the other. */
import { addCue, span } from "./cues.js";
import { button, h, icon, renew } from "./dom.js";
import { everybody } from "./people.js";
import { clock } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Moment} Moment */

const NAMES = /** @type {Record<string, string>} */ ({
  unsure: "Unsure landmarks", small: "Very small face", turned: "Turned away", covered: "Covered", missing: "Not seen",
});

export class Moments {
  /** @param {Store} store @param {HTMLElement} panel @param {HTMLElement} bar  The panel with the list, and the place in the timeline's bar. */
  constructor(store, panel, bar) {
    this.store = store;
    this.panel = panel;
    this.count = h("span", { class: "number muted" });
    bar.append(
      button({ icon: "left", label: "Moment to check before (⇧,)", class: "small", run: () => this.go(-1) }), this.count,
      button({ icon: "right", label: "Next moment to check (⇧.)", class: "small", run: () => this.go(1) }));
    store.on(["people", "moment", "project"], () => this.show());
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
    const { frame } = this.store.state;
    const later = list.findIndex((m) => m.frame > frame);
    const earlier = list.reduce((found, m, k) => (m.frame < frame ? k : found), -1);
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
    renew(this.panel, list.length
      ? [h("ul", { class: "moments" }, list.map((m, k) => {
          const person = people.find((p) => p.tracks.some((t) => t.id === m.track));
          return h("li", { class: k === state.moment ? "chosen" : "", data: { colour: person?.colour ?? "" } },
            h("button", { type: "button", class: "moment", title: m.text, data: { key: `moment-${k}` }, "aria-current": k === state.moment ? "true" : undefined, on: { click: () => this.look(k) } },
              h("img", { src: `/api/projects/${state.opened?.id}/tracks/${m.track}/picture?frame=${m.frame}`, alt: "", loading: "lazy" }),
              h("span", { class: "grow" }, h("strong", { text: NAMES[m.reason] ?? m.reason }), h("span", { class: "muted clip block number", text: `${person?.name ?? ""} · ${time.code(m.frame)}` }))),
            button({ icon: "hidden", label: `Keep the original face there: cue at ${time.code(m.frame)}`, title: "Keep the original face there (adds a cue)", class: "small", run: () => this.leave(m) }));
        }))]
      : [h("div", { class: "empty" }, icon("check"), h("p", { text: state.people ? "No moment of the people with new faces looks doubtful." : "After the analysis, moments worth a look are listed here." }))]);
  }

  /** @type {((n: number) => void) | undefined} */
  onCount;

  /** Switch the new face off for a moment. @param {Moment} m */
  leave(m) {
    const person = everybody(this.store.state).find((p) => p.tracks.some((t) => t.id === m.track));
    if (person) this.store.set({ scope: { kind: "person", id: person.id } });
    addCue(this.store, { start: m.frame, end: Math.max(m.end, m.frame + 1), off: true });
  }
}
