// @ts-check
/** Who becomes whom in a live run: new faces, and whom each of them is for. */
import { button, h, icon, renew } from "./dom.js";
import { accept } from "./cast.js";
import { pickSources, sourceThumb, takeFiles } from "./sources.js";
import { base } from "./time.js";

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

export class LiveCast {
  /** @param {Store} store @param {Run} run @param {HTMLElement} box */
  constructor(store, run, box) {
    this.store = store;
    this.run = run;
    this.shown = "";
    this.list = h("ul", { class: "roles", "aria-label": "Who becomes whom" });
    const add = button({ icon: "plus", text: "Add a face", label: "Add a face", class: "small", run: () => void this.add() });
    box.append(h("section", { class: "column", "aria-label": "New faces" }, h("div", { class: "row" }, h("h2", { class: "grow", text: "New faces" }), add), this.list));
    accept(box, "over", async (data) => {
      const paths = await takeFiles(store, [...data.files], { together: true });
      if (paths.length) this.give(0, paths);
    }, (types) => types.includes("Files"));
    store.on(["live"], () => this.show());
  }

  get roles() {
    return this.store.state.live.cast;
  }

  show() {
    const key = JSON.stringify(this.roles);
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
    const who = h("select", { "aria-label": `Who gets new face${number}`, data: { key: `who-${k}` }, on: { change: () => void this.meant(k, who.value) } },
      [...WHO, ...like].map(([value, text]) => h("option", { value, text })),
      WHO.some(([value]) => value === role.faces) ? [] : h("option", { value: role.faces, text: role.faces }),
      h("option", { value: "choose", text: "Who looks like a picture …" }));
    who.value = role.like.length ? LIKE : role.faces;
    return h("li", { class: "role" }, face,
      h("div", { class: "grow column tight" }, h("span", { class: "clip small muted", text: names || "No face yet: choose one, or drop a picture here", title: names }), who),
      (several || role.sources.length > 0) && button({ icon: "close", label: several ? `Remove new face${number}` : "Take the new face away", class: "small", data: { key: `drop-${k}` }, run: () => this.run.edit((draft) => draft.cast.splice(k, 1)) }));
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
    const like = value === "choose" ? await pickSources(this.store) : value === LIKE ? this.roles[k]?.like : [];
    this.run.edit((draft) => {
      const role = (draft.cast[k] ??= { sources: [], faces: "prominent", like: [] });
      if (value !== "choose" && value !== LIKE) role.faces = value;
      if (like) role.like = like;
    });
    this.shown = ""; // the list shows what counts, also where no picture was chosen
    this.show();
  }

  /** Put the focus on a face. @param {number} [k] */
  focus(k = 0) {
    queueMicrotask(() => /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-key="role-${k}"]`))?.focus());
  }
}
