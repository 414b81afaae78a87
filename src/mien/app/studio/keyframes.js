// @ts-check
/** Numbers that run within a cue: keys at moments, evenly between. */
import { clock, momentText } from "./time.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Project} Project */
/** @typedef {import("./types.js").Cue} Cue */
/** @typedef {import("./types.js").Key} Key */

export const SHOW = "show";

/** @param {Key} key @param {string} name */
const given = (key, name) => (name === SHOW ? key.show ?? undefined : key.values?.[name]);

/**
 * The keys of a cue that give a number, as frame and number, in order.
 * @param {State} state
 * @param {Cue | undefined} cue
 * @param {string} name  "swap.strength", or "show".
 * @returns {[number, number][]}
 */
export function keysOf(state, cue, name) {
  const time = clock(state);
  return (cue?.keys ?? [])
    .filter((key) => given(key, name) !== undefined)
    .map((key) => /** @type {[number, number]} */ ([time.read(key.at, 0), Number(given(key, name))]));
}

/** The number at the frame looked at, or undefined without keys. @param {State} state @param {number} index @param {string} name */
export function keyValue(state, index, name) {
  const keys = keysOf(state, state.project?.cues?.[index], name);
  if (!keys.length) return undefined;
  const frame = state.frame;
  if (frame <= keys[0][0]) return keys[0][1];
  for (let k = 1; k < keys.length; k++) {
    const [a, from] = keys[k - 1];
    const [b, to] = keys[k];
    if (frame <= b) return Number((from + (to - from) * part(clock(state), a, b, frame)).toFixed(3));
  }
  return keys[keys.length - 1][1];
}

/** How far a frame is from one to another, by their times. @param {import("./time.js").Clock} time @param {number} a @param {number} b @param {number} frame */
export function part(time, a, b, frame) {
  const whole = time.seconds(b) - time.seconds(a);
  return whole > 0 ? (time.seconds(frame) - time.seconds(a)) / whole : 0;
}

/**
 * Set a number at a frame.
 * @param {State} state
 * @param {Cue} cue
 * @param {number} frame
 * @param {string} name
 * @param {number} value
 */
export function setKey(state, cue, frame, name, value) {
  const time = clock(state);
  const keys = (cue.keys ??= []);
  let key = keys.find((k) => time.read(k.at, 0) === frame);
  if (!key) {
    key = { at: momentText(frame), values: {} };
    keys.push(key);
    keys.sort((a, b) => time.read(a.at, 0) - time.read(b.at, 0));
  }
  if (name === SHOW) key.show = value;
  else (key.values ??= {})[name] = value;
}

/** @param {State} state @param {Cue} cue @param {number} frame @param {string} name */
export function dropKey(state, cue, frame, name) {
  const time = clock(state);
  for (const key of cue.keys ?? []) {
    if (time.read(key.at, 0) !== frame) continue;
    if (name === SHOW) delete key.show;
    else delete key.values?.[name];
  }
  cue.keys = (cue.keys ?? []).filter((k) => (k.show ?? null) !== null || Object.keys(k.values ?? {}).length > 0);
}

/** A changed number becomes a key at this frame where it has keys already; whether it did. @param {State} state @param {Project} draft @param {number} index @param {{full: string}} f @param {any} value */
export function keyed(state, draft, index, f, value) {
  const cue = draft.cues?.[index];
  if (!cue || !keysOf(state, cue, f.full).length) return false;
  setKey(state, cue, state.frame, f.full, Number(value));
  return true;
}
