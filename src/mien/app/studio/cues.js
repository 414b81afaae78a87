// @ts-check
/** Cues: adding, moving and taking them away, and their own fields above the settings form. */
import { button, h, icon } from "./dom.js";
import { control } from "./fields.js";
import { dropKey, keysOf, keyValue, setKey, SHOW } from "./keyframes.js";
import { everybody } from "./people.js";
import { read } from "./values.js";
import { pickSources, sourceThumb } from "./sources.js";
import { clamp, clock, momentText } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Cue} Cue */
/** @typedef {import("./schema.js").Field} Field */

/** First frame of a cue and the frame after it. @param {State} state @param {Cue} cue @returns {[number, number]} */
export function span(state, cue) {
  const time = clock(state);
  const start = clamp(time.read(cue.start, 0), 0, time.frames - 1);
  return [start, clamp(time.read(cue.end, time.frames), start + 1, time.frames)];
}

/** What a cue does, in a few words. @param {State} state @param {Cue} cue */
export function told(state, cue) {
  const parts = [];
  if (cue.show === 0) parts.push("off");
  else if (cue.show !== null && cue.show !== undefined) parts.push(`show ${Math.round(cue.show * 100)} %`);
  if (cue.sources?.length) parts.push("another face");
  for (const [name, value] of Object.entries(cue.values ?? {})) {
    parts.push(`${name.split(".")[1].replace(/_/g, " ")} ${Array.isArray(value) ? value.join(" ") : value}`);
  }
  const running = new Set((cue.keys ?? []).flatMap((key) => [...Object.keys(key.values ?? {}), ...(key.show === undefined || key.show === null ? [] : ["show"])]));
  for (const name of running) parts.push(name.split(".").pop()?.replace(/_/g, " "));
  const keys = (cue.keys ?? []).length;
  if (keys) parts.push(`${keys} ${keys === 1 ? "key" : "keys"}`);
  return parts.join(", ") || "nothing changed yet";
}

/** The number of the colour of whom a cue is for; "" for all or several. @param {State} state @param {Cue} cue */
export function colourOf(state, cue) {
  const part = cue.roles?.length === 1 ? state.project?.cast?.[cue.roles[0] - 1] : undefined;
  return part ? everybody(state).find((p) => p.id === part.person)?.colour ?? "" : "";
}

/**
 * Add a cue at the playhead, for the person chosen; a second long unless told otherwise.
 * @param {Store} store
 * @param {{start?: number, end?: number, off?: boolean}} [given]
 */
export function addCue(store, given = {}) {
  const { state } = store;
  if (!state.opened || !state.project) return;
  const time = clock(state);
  const start = clamp(given.start ?? state.frame, 0, time.frames - 1);
  const end = clamp(given.end ?? Math.max(start + 2, time.nearest(time.seconds(start) + 1)), start + 1, time.frames);
  const part = state.scope.kind === "person" ? (state.project.cast ?? []).findIndex((p) => p.person === /** @type {any} */ (state.scope).id) : -1;
  store.edit("add cue", (draft) => {
    (draft.cues ??= []).push({
      start: momentText(start),
      end: momentText(end),
      roles: part >= 0 ? [part + 1] : [],
      values: {},
      ...(given.off ? { show: 0 } : {}),
    });
  });
  store.set({ scope: { kind: "cue", index: (store.state.project?.cues?.length ?? 1) - 1 } });
}

/** @param {Store} store @param {number} index */
export function removeCue(store, index) {
  store.edit("delete cue", (draft) => {
    draft.cues?.splice(index, 1);
  });
  store.set({ scope: { kind: "clip" } });
}

/** @param {Store} store @param {number} index */
export function duplicateCue(store, index) {
  const cue = store.state.project?.cues?.[index];
  if (!cue) return;
  const [start, end] = span(store.state, cue);
  const to = Math.min(end, latest(store.state, cue));
  if (to <= start) return;
  store.edit("duplicate cue", (draft) => {
    const copy = structuredClone(/** @type {Cue} */ (draft.cues?.[index]));
    draft.cues?.push(moved(store.state, copy, carried(store.state, start, to)));
  });
  store.set({ scope: { kind: "cue", index: (store.state.project?.cues?.length ?? 1) - 1 } });
}

/** A cue whose ends and keys are at other frames. @param {State} state @param {Cue} cue @param {(frame: number) => number} to */
export function moved(state, cue, to) {
  const time = clock(state);
  const [start, end] = span(state, cue);
  const from = to(start);
  const keys = (cue.keys ?? []).map((k) => ({ ...k, at: momentText(to(time.read(k.at, 0))) }));
  return { ...cue, start: momentText(from), end: momentText(clamp(to(end), from + 1, time.frames)), ...(cue.keys ? { keys } : {}) };
}

/** Where frames go when one goes to another: as long before or after it. @param {State} state @param {number} from @param {number} to */
export function carried(state, from, to) {
  const time = clock(state);
  const by = time.seconds(to) - time.seconds(from);
  return (/** @type {number} */ frame) => (frame === from ? to : time.nearest(time.seconds(frame) + by));
}

/** The last frame at which a cue can begin and keep its length. @param {State} state @param {Cue} cue */
export function latest(state, cue) {
  const time = clock(state);
  const [start, end] = span(state, cue);
  return clamp(time.nearest(time.end - time.seconds(end) + time.seconds(start)), 0, time.frames - 1);
}

/** A button that sets or takes a key at the frame looked at. @param {Store} store @param {Field | {full: string, title: string}} f */
export function keyButton(store, f) {
  const at = () => {
    const { scope, project } = store.state;
    return scope.kind === "cue" ? { index: scope.index, cue: project?.cues?.[scope.index] } : { index: -1, cue: undefined };
  };
  const here = () => keysOf(store.state, at().cue, f.full).some(([frame]) => frame === store.state.frame);
  const node = /** @type {any} */ (button({ icon: "diamond", label: `Key for ${f.title.toLowerCase()} at this frame`, class: "small key", run: () => {
    const { index } = at();
    const now = keyValue(store.state, index, f.full);
    const value = now ?? (f.full === SHOW ? store.state.project?.cues?.[index]?.show ?? 1 : Number(read(store.state, store.state.scope, /** @type {Field} */ (f)).value));
    store.edit(here() ? "take key away" : "set key", (draft) => {
      const cue = draft.cues?.[index];
      if (!cue) return;
      if (here()) dropKey(store.state, cue, store.state.frame, f.full);
      else setKey(store.state, cue, store.state.frame, f.full, value);
    });
  } }));
  node.refresh = () => {
    const set = here();
    node.setAttribute("aria-pressed", String(set));
    node.replaceChildren(icon(set ? "key" : "diamond"));
    node.classList.toggle("running", keysOf(store.state, at().cue, f.full).length > 0);
  };
  return node;
}

/** Show a cue's own fields; called again with each change. @param {Store} store @param {HTMLElement} box @param {number} index */
export function cueHead(store, box, index) {
  const made = /** @type {any} */ (box.firstElementChild);
  if (!made || made.index !== index) box.replaceChildren(build(store, index));
  /** @type {any} */ (box.firstElementChild).refresh();
}

/** @param {Store} store @param {number} index */
function build(store, index) {
  const change = (/** @type {string} */ label, /** @type {(cue: Cue) => void} */ run, merge = "") =>
    store.edit(label, (draft) => {
      const cue = draft.cues?.[index];
      if (cue) run(cue);
    }, merge && `cue-${index}-${merge}`);
  const cue = () => /** @type {Cue} */ (store.state.project?.cues?.[index]);

  const moment = (/** @type {string} */ label, /** @type {0 | 1} */ side) => {
    const field = h("input", { type: "text", class: "timecode", "aria-label": label, on: { change: () => {
      const time = clock(store.state);
      const frame = time.typed(field.value);
      const range = span(store.state, cue());
      if (frame !== null) {
        range[side] = clamp(frame, side ? range[0] + 1 : 0, side ? time.frames : range[1] - 1);
        change(`${label.toLowerCase()} of cue`, (c) => Object.assign(c, { start: momentText(range[0]), end: momentText(range[1]) }));
      }
      field.value = time.code(span(store.state, cue())[side]);
    } } });
    return field;
  };
  const start = moment("Start", 0);
  const end = moment("End", 1);
  const who = h("div", { class: "flags", role: "group", "aria-label": "Whom it is for" });
  const show = control(/** @type {any} */ ({ kind: "number", full: SHOW, title: "How much of the new face is shown", least: 0, most: 1, step: 0.01, unit: "" }), "cue-show",
    (value, live) => change("how much is shown", (c) => {
      if (keysOf(store.state, c, SHOW).length) setKey(store.state, c, store.state.frame, SHOW, Number(value));
      else if (value === 1) delete c.show;
      else c.show = Number(value);
    }, live ? "show" : ""), () => []);
  const key = keyButton(store, { full: SHOW, title: "How much is shown" });
  const off = h("input", { type: "checkbox", role: "switch", class: "switch", id: "cue-off", on: { change: () =>
    change(off.checked ? "switch off in cue" : "switch on in cue", (c) => {
      if (off.checked) c.show = 0;
      else delete c.show;
      c.keys = (c.keys ?? []).map(({ show: _, ...k }) => k).filter((k) => Object.keys(k.values ?? {}).length);
    }) } });
  const ease = control(/** @type {any} */ ({ kind: "number", full: "ease", title: "Ease", least: 0, most: 5, step: 0.05, unit: "s" }), "cue-ease",
    (value, live) => change("ease of cue", (c) => (c.ease = Number(value)), live ? "ease" : ""), () => []);
  const faces = h("div", { class: "row" });
  const node = /** @type {any} */ (h("div", { class: "cue-fields column" },
    h("div", { class: "row wide" }, h("strong", { text: `Cue ${index + 1}` }), h("span", { class: "grow" }),
      button({ icon: "copy", label: "Duplicate cue", class: "small", run: () => duplicateCue(store, index) }),
      button({ icon: "trash", label: "Delete cue", class: "small", run: () => removeCue(store, index) })),
    h("div", { class: "row wide" }, start, h("span", { class: "muted", text: "to" }), end),
    h("div", { class: "setting" }, h("span", { class: "small muted", text: "For" }), who),
    h("div", { class: "setting-head" }, h("label", { for: "cue-off", class: "grow", text: "Off: keep the original face" }), off),
    h("div", { class: "setting" }, h("div", { class: "setting-head" }, h("label", { for: "cue-show", class: "grow", text: "Show" }), key), show.node),
    h("div", { class: "setting" }, h("div", { class: "setting-head" }, h("label", { for: "cue-ease", text: "Ease in and out", title: "Seconds over which numbers go to the cue's and back" })), ease.node),
    h("div", { class: "setting" }, h("div", { class: "setting-head" }, h("span", { class: "grow", text: "Another new face" })), faces),
    h("p", { class: "muted small", text: "Settings changed below count inside the cue only. A diamond sets a key at the playhead; numbers run between keys." })));
  node.index = index;
  node.refresh = () => {
    const { state } = store;
    const now = cue();
    if (!now) return;
    const [a, b] = span(state, now);
    if (document.activeElement !== start) start.value = clock(state).code(a);
    if (document.activeElement !== end) end.value = clock(state).code(b);
    const people = everybody(state);
    const parts = state.project?.cast ?? [];
    const roles = now.roles ?? [];
    const chips = parts.map((part, k) => {
      const person = people.find((p) => p.id === part.person);
      return button({ text: person?.name ?? part.person, label: person?.name ?? part.person, class: "small flag", pressed: roles.includes(k + 1), data: { colour: person?.colour ?? "" },
        run: () => change("whom the cue is for", (c) => {
          const had = c.roles ?? [];
          c.roles = had.includes(k + 1) ? had.filter((n) => n !== k + 1) : [...had, k + 1].sort((x, y) => x - y);
        }) });
    });
    who.replaceChildren(button({ text: "Everybody", label: "Everybody", class: "small flag", pressed: roles.length === 0, run: () => change("whom the cue is for", (c) => (c.roles = [])) }), ...chips);
    const running = keyValue(state, index, SHOW);
    show.show(running ?? now.show ?? 1);
    off.checked = now.show === 0;
    key.refresh();
    ease.show(now.ease ?? 0);
    faces.replaceChildren(...(now.sources ?? []).map((path) => sourceThumb(path, 32)),
      button({ icon: "plus", text: now.sources?.length ? "Change" : "Choose", label: "Choose another face for the cue", class: "small", run: async () => {
        const chosen = await pickSources(store);
        if (chosen) change("another face in cue", (c) => (c.sources = chosen));
      } }),
      ...(now.sources?.length ? [button({ icon: "close", label: "No other face", class: "small", run: () => change("no other face in cue", (c) => (c.sources = [])) })] : []));
  };
  return node;
}
