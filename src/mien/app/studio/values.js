// @ts-check
/** What a setting is for the clip or for live, for a person and in a cue, and how it is changed there. */
import { partOf } from "./people.js";
import { OWN } from "./schema.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Scope} Scope */
/** @typedef {import("./types.js").Project} Project */
/** @typedef {import("./types.js").Held} Held */
/** @typedef {import("./types.js").Own} Own */
/** @typedef {import("./types.js").Value} Value */
/** @typedef {import("./schema.js").Field} Field */

/** @param {unknown} a @param {unknown} b */
export const same = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);

/** Where nobody changed it. @param {State} state @param {Field} f @returns {Value} */
const ofNobody = (state, f) => state.defaults[f.group]?.[f.name] ?? f.usual;

/** @param {State} state @param {Held | null} held @param {Field} f @returns {Value} */
function ofAll(state, held, f) {
  return held?.settings?.[f.group]?.[f.name] ?? ofNobody(state, f);
}

/** @param {State} state @param {Held | null} held @param {number} part @param {Field} f @returns {Value} */
function ofPart(state, held, part, f) {
  const own = /** @type {any} */ (held?.cast?.[part])?.[f.group];
  return own ? own[f.name] : ofAll(state, held, f);
}

/** The number of the part of the cast that a scope means, or -1. @param {Held | null} held @param {Scope} scope */
const partIn = (held, scope) =>
  scope.kind === "role" ? scope.index : scope.kind === "person" ? partOf(/** @type {Project | null} */ (held), scope.id) : -1;

/** Whether somebody has own settings. @param {Own | undefined} part */
export const hasOwn = (part) => [...OWN].some((group) => /** @type {any} */ (part)?.[group]);

/** Take somebody's own settings back. @param {Own | undefined} part */
export function dropOwn(part) {
  for (const group of part ? OWN : []) delete /** @type {any} */ (part)[group];
}

/**
 * The value of a setting, and what it is without a change in this scope.
 * @param {State} state
 * @param {Scope} scope
 * @param {Field} f
 * @returns {{value: Value, base: Value, changed: boolean}}
 */
export function read(state, scope, f) {
  const { project } = state;
  const held = scope.kind === "live" || scope.kind === "role" ? state.live : project;
  const all = ofAll(state, held, f);
  if (scope.kind === "person" || scope.kind === "role") {
    const value = ofPart(state, held, partIn(held, scope), f);
    return { value, base: all, changed: !same(value, all) };
  }
  if (scope.kind === "cue") {
    const cue = project?.cues?.[scope.index];
    const base = cue?.roles?.length === 1 ? ofPart(state, project, cue.roles[0] - 1, f) : all;
    const set = cue?.values && f.full in cue.values;
    const keyed = (cue?.keys ?? []).some((key) => key.values && f.full in key.values);
    return { value: set ? /** @type {any} */ (cue?.values)[f.full] : base, base, changed: Boolean(set) || keyed };
  }
  const base = ofNobody(state, f);
  return { value: all, base, changed: !same(all, base) };
}

/**
 * Change a setting in a draft of the project or of live.
 * @param {State} state
 * @param {Held} draft
 * @param {Scope} scope
 * @param {Field} f
 * @param {Value | undefined} value  Undefined: back to what it is without a change here.
 */
export function write(state, draft, scope, f, value) {
  if (scope.kind === "cue") return writeCue(/** @type {Project} */ (draft), scope.index, f, value);
  if (scope.kind === "person" || scope.kind === "role") return writePart(state, draft, partIn(draft, scope), f, value);
  const before = ofAll(state, draft, f);
  put((draft.settings ??= {}), f, value, ofNobody(state, f));
  const after = ofAll(state, draft, f);
  for (const part of /** @type {any[]} */ (draft.cast ?? [])) {
    // A group of somebody's own is whole: what was like the clip's stays like it.
    if (part[f.group] && same(part[f.group][f.name], before)) part[f.group][f.name] = after;
  }
}

/** Change a setting among those that differ. @param {import("./types.js").Groups} groups @param {Field} f @param {Value | undefined} value @param {Value | undefined} base */
export function put(groups, f, value, base) {
  const group = (groups[f.group] ??= {});
  if (value === undefined || same(value, base)) delete group[f.name];
  else group[f.name] = value;
  if (Object.keys(group).length === 0) delete groups[f.group];
}

/** @param {Project} draft @param {number} index @param {Field} f @param {Value | undefined} value */
function writeCue(draft, index, f, value) {
  const cue = draft.cues?.[index];
  if (!cue) return;
  const values = (cue.values ??= {});
  if (value === undefined) {
    delete values[f.full];
    for (const key of cue.keys ?? []) delete key.values?.[f.full];
    cue.keys = (cue.keys ?? []).filter((k) => (k.show ?? null) !== null || Object.keys(k.values ?? {}).length > 0);
  } else values[f.full] = value;
}

/** @param {State} state @param {Held} draft @param {number} at @param {Field} f @param {Value | undefined} value */
function writePart(state, draft, at, f, value) {
  const part = /** @type {any} */ (draft.cast?.[at]);
  if (!part) return;
  const all = { ...state.defaults[f.group], ...draft.settings?.[f.group] };
  const own = { ...(part[f.group] ?? all) };
  own[f.name] = value === undefined ? all[f.name] : value;
  if (same(own, { ...own, ...all })) delete part[f.group];
  else part[f.group] = own;
}

/**
 * Settings without what is as usual.
 * @param {import("./types.js").Groups} all
 * @param {import("./types.js").Groups} defaults
 */
export function differences(all, defaults) {
  /** @type {import("./types.js").Groups} */
  const found = {};
  for (const [group, values] of Object.entries(all ?? {})) {
    const own = Object.entries(values ?? {}).filter(([name, value]) => !same(value, defaults[group]?.[name]));
    if (own.length) found[group] = Object.fromEntries(own);
  }
  return found;
}

/** The whole settings of the clip. @param {State} state @returns {import("./types.js").Groups} */
export function complete(state) {
  return Object.fromEntries(
    Object.entries(state.defaults).map(([g, values]) => [g, { ...values, ...state.project?.settings?.[g] }]),
  );
}
