// @ts-check
/** The settings form: for the clip or live, for one person, or in a cue. Built from the schema; nothing is named here. */
import { button, h, icon, segmented } from "./dom.js";
import { cueHead, keyButton } from "./cues.js";
import { control } from "./fields.js";
import { keyed, keyValue } from "./keyframes.js";
import { everybody, partOf } from "./people.js";
import { menu } from "./overlay.js";
import { ofProject, presetMenu } from "./presets.js";
import { applies, fields, OWN } from "./schema.js";
import { read, write } from "./values.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Scope} Scope */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./schema.js").Field} Field */

/**
 * @typedef {object} Own  A form of something else than the project.
 * @property {() => Scope} scope
 * @property {{value: string, text: string, label: string}[]} ways  Kinds of scopes to choose from.
 * @property {(kind: string, at: HTMLElement) => void} choose
 * @property {(scope: Scope) => (Node | string)[]} about  What there is to say of a scope.
 * @property {keyof State} schema  Where in the state its schema is.
 * @property {(keyof State)[]} parts  The parts of the state that its values depend on.
 * @property {(f: Field) => boolean} shows
 * @property {(f: Field, value: any) => void} change
 * @property {() => import("./presets.js").Holder} holder
 */

const WAYS = [
  { value: "clip", text: "Clip", label: "Settings of the whole clip" },
  { value: "person", text: "Person", label: "Settings of one person" },
  { value: "cue", text: "Cue", label: "Settings in a cue" },
];
const ALWAYS_OPEN = ["swap", "mask", "enhance"];

export class SettingsPanel {
  /** @param {Store} store @param {HTMLElement} box @param {Own} [own] */
  constructor(store, box, own) {
    this.store = store;
    this.box = box;
    this.own = own;
    this.only = false;
    this.search = "";
    this.open = new Set(ALWAYS_OPEN.slice(0, 2));
    this.built = "";
    this.headFor = "";
    /** @type {{field: Field, row: HTMLElement, show: (value: any) => void, reset: HTMLButtonElement, key: HTMLElement | null}[]} */
    this.rows = [];
    this.head = h("div", { class: "settings-head" });
    this.about = h("div", { class: "scope-about" });
    this.form = h("div", { class: "settings-form" });
    box.append(this.head, this.about, this.form);
    if (own) {
      store.on([own.schema, "models"], () => this.build());
      store.on(own.parts, () => this.refresh());
      return;
    }
    store.on(["schema", "scope", "opened", "models"], () => this.build());
    store.on(["project", "people", "defaults"], () => this.refresh());
    store.on(["frame"], (s) => s.scope.kind === "cue" && this.refresh());
  }

  get schema() {
    return this.store.state[this.own?.schema ?? "schema"];
  }

  /** The scope, or the clip where what was chosen is gone. @returns {Scope} */
  scope() {
    if (this.own) return this.own.scope();
    const { scope, project } = this.store.state;
    if (scope.kind === "cue" && !project?.cues?.[scope.index]) return { kind: "clip" };
    return scope;
  }

  build() {
    const scope = this.scope();
    const some = scope.kind !== "clip" && scope.kind !== "live";
    this.rows = [];
    this.groups = fields(this.schema).filter((g) => !some || OWN.has(g.name));
    this.form.replaceChildren(...this.groups.map((group) => this.group(group, scope)));
    this.built = JSON.stringify(scope);
    this.refresh();
  }

  /** @param {import("./schema.js").Fields} group @param {Scope} scope */
  group(group, scope) {
    const rows = group.fields.filter((f) => scope.kind !== "cue" || f.full !== "swap.every").map((f) => this.row(f, scope));
    const count = h("span", { class: "chip accent", hidden: true });
    const node = h("details", {
      class: "group", open: this.open.has(group.name), data: { group: group.name },
      on: { toggle: () => (node.open ? this.open.add(group.name) : this.open.delete(group.name)) },
    }, h("summary", { title: group.text }, icon("right"), h("span", { class: "grow", text: group.title }), count), rows,
      h("p", { class: "muted small hidden-count", hidden: true }));
    return node;
  }

  /** @param {Field} f @param {Scope} scope */
  row(f, scope) {
    const id = `${this.own ? `${scope.kind}-` : ""}set-${f.group}-${f.name}`;
    const help = h("p", { class: "muted small help", id: `${id}-help`, hidden: true, text: f.text + range(f) });
    const change = (/** @type {any} */ value, /** @type {boolean} */ live) => this.change(f, value, live);
    const made = control(f, id, change, () => this.store.state.models);
    const target = made.node.id === id ? made.node : made.node.querySelector(`#${CSS.escape(id)}`);
    target?.setAttribute("aria-describedby", help.id);
    const reset = button({ icon: "reset", label: `Reset ${f.title.toLowerCase()}`, class: "small", run: () => this.change(f, undefined, false) });
    const why = button({ icon: "help", label: `What ${f.title.toLowerCase()} means`, class: "small why", run: () => {
      help.hidden = !help.hidden;
      why.setAttribute("aria-expanded", String(!help.hidden));
    } });
    why.setAttribute("aria-expanded", "false");
    why.setAttribute("aria-controls", help.id);
    const key = scope.kind === "cue" && f.kind === "number" && !f.whole ? keyButton(this.store, f) : null;
    const row = h("div", { class: "setting", data: { field: f.full } },
      h("div", { class: "setting-head" }, h("label", { for: id, text: f.title, title: f.text }), why, h("span", { class: "grow" }), key, reset),
      made.node, help);
    this.rows.push({ field: f, row, show: made.show, reset, key });
    return row;
  }

  /** @param {Field} f @param {any} value @param {boolean} live */
  change(f, value, live) {
    if (this.own) return this.own.change(f, value);
    const scope = this.scope();
    const who = scope.kind === "clip" ? "" : scope.kind === "cue" ? " in the cue" : " of a person";
    const label = value === undefined ? `reset ${f.title.toLowerCase()}${who}` : `${f.title.toLowerCase()}${who}`;
    this.store.edit(label, (draft) => {
      if (scope.kind === "cue" && value !== undefined && keyed(this.store.state, draft, scope.index, f, value)) return;
      write(this.store.state, draft, scope, f, value);
    }, live ? `set-${f.full}-${JSON.stringify(scope)}` : "");
  }

  refresh() {
    const { state } = this.store;
    if (!this.schema || !(state.project || this.own)) return;
    const scope = this.scope();
    if (JSON.stringify(scope) !== this.built) return this.build();
    const model = String(this.swapper(scope));
    /** @type {Record<string, {changed: number, gone: number}>} */
    const count = {};
    for (const { field, row, show, reset, key } of this.rows) {
      const found = read(state, scope, field);
      const fits = applies(field, model);
      const value = key ? at(state, scope, field, found.value) : found.value;
      show(value);
      row.classList.toggle("changed", found.changed);
      reset.hidden = !found.changed;
      if (key) /** @type {any} */ (key).refresh();
      const here = this.own?.shows(field) !== false;
      const asked = !this.search || `${field.title} ${field.text} ${field.full}`.toLowerCase().includes(this.search);
      row.hidden = !fits || !asked || (this.only && !found.changed) || !here;
      const c = (count[field.group] ??= { changed: 0, gone: 0 });
      c.changed += found.changed && here ? 1 : 0;
      c.gone += fits ? 0 : 1;
    }
    let all = 0;
    for (const node of /** @type {NodeListOf<HTMLDetailsElement>} */ (this.form.querySelectorAll("details.group"))) {
      const { changed, gone } = count[node.dataset.group ?? ""] ?? { changed: 0, gone: 0 };
      all += changed;
      const chip = /** @type {HTMLElement} */ (node.querySelector("summary .chip"));
      chip.hidden = changed === 0;
      chip.textContent = `${changed} changed`;
      const note = /** @type {HTMLElement} */ (node.querySelector(".hidden-count"));
      note.hidden = gone === 0 || this.only || Boolean(this.search);
      note.textContent = `${gone} more ${gone === 1 ? "does" : "do"} not apply to ${model}.`;
      const shown = this.rows.some((r) => r.field.group === node.dataset.group && !r.row.hidden);
      node.hidden = (this.only || Boolean(this.search)) && !shown;
      if ((this.only || this.search) && shown) node.open = true;
    }
    this.heading(scope, all);
  }

  /** @param {Scope} scope @param {number} changed */
  heading(scope, changed) {
    const { state } = this.store;
    const person = scope.kind === "person" ? everybody(state).find((p) => p.id === scope.id) : null;
    const chosen = scope.kind;
    if (this.headFor !== chosen) {
      this.headFor = chosen;
      const { own } = this;
      const choose = segmented("Settings for", own?.ways ?? WAYS, chosen, (value) => (own ?? this).choose(value, choose));
      const search = h("input", { type: "search", placeholder: "Find a setting", "aria-label": "Find a setting", value: this.search, on: { input: () => {
        this.search = search.value.trim().toLowerCase();
        this.refresh();
      } } });
      this.changedButton = button({ text: "", label: "Show changed settings only", class: "small", pressed: this.only, run: () => {
        this.only = !this.only;
        this.refresh();
      } });
      this.head.replaceChildren(
        h("div", { class: "row" }, choose, h("span", { class: "grow" }),
          button({ icon: "more", label: "Presets and reset", run: (e) => presetMenu(/** @type {HTMLElement} */ (e.currentTarget), own?.holder() ?? ofProject(this.store)) })),
        h("div", { class: "row" }, search, this.changedButton));
    }
    const b = /** @type {HTMLElement} */ (this.changedButton);
    b.textContent = `${changed} changed`;
    b.hidden = changed === 0 && !this.only;
    b.setAttribute("aria-pressed", String(this.only));
    const { about } = this;
    if (scope.kind === "cue") cueHead(this.store, about, scope.index);
    else if (person) {
      const has = partOf(state.project, person.id) >= 0;
      about.replaceChildren(h("p", { data: { colour: person.colour } }, h("span", { class: "dot" }), " ", h("strong", { text: person.name }),
        h("span", { class: "muted", text: has ? ": changes here count for this person only." : " has no new face yet. Give one in the cast." })));
    } else about.replaceChildren(...(this.own?.about(scope) ?? []));
    this.form.classList.toggle("idle", Boolean(person && partOf(state.project, person.id) < 0));
    /** @type {any} */ (this.form).inert = Boolean(person && partOf(state.project, person.id) < 0);
  }

  /** @param {Scope} scope */
  swapper(scope) {
    const row = this.rows.find((r) => r.field.full === "swap.model");
    return row ? read(this.store.state, scope, row.field).value : "";
  }

  /** @param {string} kind @param {HTMLElement} at */
  choose(kind, at) {
    const { state } = this.store;
    if (kind === "clip") this.store.set({ scope: { kind: "clip" } });
    else if (kind === "person") {
      const people = everybody(state);
      menu(at, people.length
        ? people.map((p) => ({ text: p.name, icon: "person", run: () => this.store.set({ scope: { kind: "person", id: p.id } }) }))
        : [{ text: "Nobody is known yet: analyse the clip", disabled: true, run: () => {} }]);
    } else {
      const cues = state.project?.cues ?? [];
      menu(at, cues.length
        ? cues.map((_, k) => ({ text: `Cue ${k + 1}`, icon: "cue", run: () => this.store.set({ scope: { kind: "cue", index: k } }) }))
        : [{ text: "No cue yet: add one in the timeline (M)", disabled: true, run: () => {} }]);
    }
  }
}

/** @param {Field} f */
function range(f) {
  if (f.kind !== "number" || f.least === undefined || f.text.match(/\d to /)) return "";
  return f.most === undefined ? ` At least ${f.least}.` : ` ${f.least} to ${f.most}.`;
}

/** The value at the frame looked at, where a cue has keys. @param {State} state @param {Scope} scope @param {Field} f @param {any} value */
function at(state, scope, f, value) {
  return scope.kind === "cue" ? keyValue(state, scope.index, f.full) ?? value : value;
}
