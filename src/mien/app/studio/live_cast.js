// @ts-check
/** Who becomes whom in a live run: new faces, and whom each of them is for. */
import { button, h, icon, renew } from "./dom.js";
import { accept } from "./cast.js";
import { pickSeen } from "./live_seen.js";
import { inTurn, whom } from "./live_wish.js";
import { pickSources, sourceThumb, takeFiles } from "./sources.js";
import { base } from "./time.js";
import { hasOwn } from "./values.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./live_run.js").Run} Run */
/** @typedef {import("./types.js").Role} Role */

const WHO = /** @type {[string, string][]} */ ([
  ["prominent", "The most prominent person"],
  ["all", "Everybody"],
  ["largest", "The largest face"],
  ["left", "Who is furthest left"],
  ["right", "Who is furthest right"],
]);
const LIKE = "like";
/** Those who can be meant before they are seen; they are numbered in order of appearance. */
const NUMBERED = ["1", "2", "3", "4"];

export class LiveCast {
  /** @param {Store} store @param {Run} run @param {HTMLElement} box @param {HTMLVideoElement} picture  The live picture. */
  constructor(store, run, box, picture) {
    this.store = store;
    this.run = run;
    this.picture = picture;
    this.shown = "";
    this.list = h("ul", { class: "roles", "aria-label": "Who becomes whom" });
    const add = button({ icon: "plus", text: "Add a face", label: "Add a face", class: "small", run: () => void this.add() });
    box.append(h("section", { class: "column", "aria-label": "New faces" }, h("div", { class: "row" }, h("h2", { class: "grow", text: "New faces" }), add), this.list));
    accept(box, "over", async (data) => {
      const paths = await takeFiles(store, [...data.files], { together: true });
      if (paths.length) this.give(0, paths);
    }, (types) => types.includes("Files"));
    store.on(["live", "liveScope", "air"], () => this.show());
  }

  get roles() {
    return this.store.state.live.cast;
  }

  show() {
    const { liveScope, air } = this.store.state;
    const key = JSON.stringify([this.roles, liveScope, air.phase]);
    if (key === this.shown) return;
    this.shown = key;
    const roles = this.roles.length ? this.roles : [{ sources: [], faces: "prominent", like: [] }];
    renew(this.list, roles.map((role, k) => this.role(role, k, roles.length > 1)));
  }

  /** @param {Role} role @param {number} k @param {boolean} several */
  role(role, k, several) {
    const number = several ? ` ${k + 1}` : "";
    const names = role.sources.map(base).join(", ");
    const face = h("button", {
      type: "button", class: `face ${role.sources.length ? "" : "none"}`, data: { key: `role-${k}` }, title: names || "Choose a picture or a video of the new face",
      "aria-label": names ? `New face${number}: ${names}. Change` : `Choose new face${number}`, on: { click: () => void this.pick(k) },
    }, role.sources.length ? sourceThumb(role.sources[0], 48) : icon("plus"), role.sources.length > 1 && h("span", { class: "count", text: String(role.sources.length) }));
    const like = role.like.length ? [[LIKE, `Who looks like ${role.like.map(base).join(", ")}`]] : [];
    const words = WHO.map(([value]) => value);
    const numbers = words.includes(role.faces) || NUMBERED.includes(role.faces) ? NUMBERED : [role.faces, ...NUMBERED];
    const who = h("select", { "aria-label": `Who gets new face${number}`, data: { key: `who-${k}` }, on: { change: () => void this.meant(k, who.value) } },
      [...WHO, ...like, ...numbers.map((n) => [n, whom(n)])].map(([value, text]) => h("option", { value, text })),
      h("option", { value: "seen", text: "Somebody in the picture …", disabled: this.run.phase !== "running" }),
      h("option", { value: "choose", text: "Who looks like a picture …" }));
    who.value = role.like.length ? LIKE : role.faces;
    const { liveScope: scope } = this.store.state;
    const chosen = scope.kind === "role" && scope.index === k;
    return h("li", { class: `role ${chosen ? "chosen" : ""}` }, face,
      h("div", { class: "grow column tight" }, h("span", { class: "clip small muted", text: names || "No face yet: choose one, or drop a picture here", title: names }), who,
        hasOwn(role) && h("span", { class: "chip accent", text: "own settings" })),
      role.sources.length > 0 && button({ icon: "gear", label: `Settings of new face${number}`, class: "small", pressed: chosen, data: { key: `own-${k}` },
        run: () => this.store.set({ liveScope: chosen ? { kind: "live" } : { kind: "role", index: k } }) }),
      (several || role.sources.length > 0) && button({ icon: "close", label: several ? `Remove new face${number}` : "Take the new face away", class: "small", data: { key: `drop-${k}` }, run: () => this.drop(k) }));
  }

  /** @param {number} k */
  drop(k) {
    const roles = this.roles.filter((_, at) => at !== k);
    this.settle(this.roles, roles);
    this.run.edit((draft) => draft.cast.splice(k, 1));
  }

  /** The settings form stays with whom it was for. @param {Role[]} before @param {(Role | undefined)[]} after */
  settle(before, after) {
    const { liveScope: scope } = this.store.state;
    if (scope.kind !== "role") return;
    const index = after.indexOf(before[scope.index]);
    this.store.set({ liveScope: index < 0 ? { kind: "live" } : { kind: "role", index } });
  }

  /** @param {number} k */
  async pick(k) {
    const paths = await pickSources(this.store);
    if (paths) this.give(k, paths);
  }

  async add() {
    const paths = await pickSources(this.store);
    if (paths) this.give(this.roles.length, paths);
  }

  /** @param {number} k @param {string[]} sources */
  give(k, sources) {
    this.run.edit((draft) => {
      // Two of the most prominent person would leave the second one without anybody.
      const faces = draft.cast.some((role) => role.faces === "prominent" && role.sources.length) ? "all" : "prominent";
      draft.cast[k] = { ...(draft.cast[k] ?? { faces, like: [] }), sources };
    });
    this.focus(k);
  }

  /** @param {number} k @param {string} value */
  async meant(k, value) {
    const faces = value === "seen" ? await pickSeen(this.picture) : value === "choose" || value === LIKE ? null : value;
    const like = value === "choose" ? await pickSources(this.store) : faces ? [] : null;
    const before = this.roles;
    /** @type {Role} */
    const role = { ...(before[k] ?? { sources: [], faces: "prominent", like: [] }), ...(faces ? { faces } : {}), ...(like ? { like } : {}) };
    const changed = [...before.slice(0, k), role, ...before.slice(k + 1)];
    const roles = inTurn(changed);
    this.settle(changed, roles);
    this.run.edit((draft) => (draft.cast = roles));
    this.shown = ""; // the list shows what counts, also where nobody was chosen
    this.show();
    const at = roles.indexOf(role);
    if (at !== k) this.focus(at, "who");
  }

  /** Put the focus on a face, or on another part of its row. @param {number} [k] @param {string} [part] */
  focus(k = 0, part = "role") {
    queueMicrotask(() => /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-key="${part}-${k}"]`))?.focus());
  }
}
