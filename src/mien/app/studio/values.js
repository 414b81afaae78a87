// @ts-check
/** What a setting is for the clip, for a person and in a cue, and how it is changed there. */
import { partOf } from "./people.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Scope} Scope */
/** @typedef {import("./types.js").Project} Project */
/** @typedef {import("./types.js").Value} Value */
/** @typedef {import("./schema.js").Field} Field */

/** @param {unknown} a @param {unknown} b */
export const same = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);

/** @param {State} state @param {Project | null} project @param {Field} f @returns {Value} */
function ofClip(state, project, f) {
  return project?.settings?.[f.group]?.[f.name] ?? state.defaults[f.group]?.[f.name] ?? null;
}

/** @param {State} state @param {Project | null} project @param {number} part @param {Field} f @returns {Value} */
function ofPart(state, project, part, f) {
  const own = /** @type {any} */ (project?.cast?.[part])?.[f.group];
  return own ? own[f.name] : ofClip(state, project, f);
}

/**
 * The value of a setting, and what it is without a change in this scope.
 * @param {State} state
 * @param {Scope} scope
 * @param {Field} f
 * @returns {{value: Value, base: Value, changed: boolean}}
 */
export function read(state, scope, f) {
  if (scope.kind === "live") {
    const value = state.live.settings[f.group]?.[f.name] ?? f.usual;
    return { value, base: f.usual, changed: !same(value, f.usual) };
  }
  const project = state.project;
  const clip = ofClip(state, project, f);
  if (scope.kind === "person") {
    const value = ofPart(state, project, partOf(project, scope.id), f);
    return { value, base: clip, changed: !same(value, clip) };
  }
  if (scope.kind === "cue") {
    const cue = project?.cues?.[scope.index];
    const base = cue?.roles?.length === 1 ? ofPart(state, project, cue.roles[0] - 1, f) : clip;
    const set = cue?.values && f.full in cue.values;
    const keyed = (cue?.keys ?? []).some((key) => key.values && f.full in key.values);
    return { value: set ? /** @type {any} */ (cue?.values)[f.full] : base, base, changed: Boolean(set) || keyed };
  }
  const base = state.defaults[f.group]?.[f.name] ?? null;
  return { value: clip, base, changed: !same(clip, base) };
}

/**
 * Change a setting in a draft of the project.
 * @param {State} state
 * @param {Project} draft
 * @param {Scope} scope
 * @param {Field} f
 * @param {Value | undefined} value  Undefined: back to what it is without a change here.
 */
export function write(state, draft, scope, f, value) {
  if (scope.kind === "cue") return writeCue(draft, scope.index, f, value);
  if (scope.kind === "person") return writePart(state, draft, scope.id, f, value);
  const before = ofClip(state, draft, f);
  put((draft.settings ??= {}), f, value, state.defaults[f.group]?.[f.name]);
  const after = ofClip(state, draft, f);
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

/** @param {State} state @param {Project} draft @param {string} id @param {Field} f @param {Value | undefined} value */
function writePart(state, draft, id, f, value) {
  const part = /** @type {any} */ (draft.cast?.[partOf(draft, id)]);
  if (!part) return;
  const clip = { ...state.defaults[f.group], ...draft.settings?.[f.group] };
  const own = { ...(part[f.group] ?? clip) };
  own[f.name] = value === undefined ? clip[f.name] : value;
  if (same(own, { ...own, ...clip })) delete part[f.group];
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
