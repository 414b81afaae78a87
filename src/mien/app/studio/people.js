// @ts-check
/** People as the page shows them: analysis, corrections by hand and cast together; and the changes to them. */

import { clock } from "./time.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Person} Person */
/** @typedef {import("./types.js").Project} Project */
/** @typedef {import("./types.js").Part} Part */
/** @typedef {import("./types.js").TrackLine} TrackLine */

/** @type {{people: any, naming: any, time: any, found: Person[]}} */
const last = { people: null, naming: null, time: null, found: [] };

/**
 * Everybody in the clip. A correction lists a person's tracks; without one they are as analysed.
 * @param {State} state
 * @returns {Person[]}
 */
export function everybody(state) {
  const people = state.people;
  const naming = state.project?.people ?? [];
  if (!people || !state.opened) return [];
  const time = clock(state);
  if (last.people === people && last.naming === state.project?.people && last.time === time) return last.found;
  const tracks = new Map(people.people.flatMap((p) => p.tracks.map((t) => [t.id, { track: t, owner: p.id }])));
  const named = new Map(naming.map((n) => [n.id, n]));
  const moved = new Map(naming.flatMap((n) => n.tracks.map((t) => [t, n.id])));
  const ids = [...new Set([...people.people.map((p) => p.id), ...naming.map((n) => n.id)])];
  const found = ids.map((id) => {
    const seen = people.people.find((p) => p.id === id);
    const own = [...tracks.values()].filter(({ track, owner }) => (moved.get(track.id) ?? owner) === id);
    const lines = own.map(({ track }) => track).sort((a, b) => a.start - b.start);
    const untouched = seen && lines.length === seen.tracks.length && lines.every((t) => seen.tracks.some((s) => s.id === t.id));
    const seconds = lines.reduce((sum, t) => sum + time.seconds(t.end) - time.seconds(t.start), 0);
    return {
      id,
      name: named.get(id)?.name || seen?.name || label(id),
      seconds: untouched ? seen.seconds : seconds,
      picture: untouched ? seen.picture : trackPicture(state, lines),
      tracks: lines,
      colour: (Number(id.replace(/\D/g, "")) + 7) % 8,
    };
  });
  const present = found.filter((p) => p.tracks.length > 0);
  Object.assign(last, { people, naming: state.project?.people, time, found: present });
  return present;
}

/** "person3" as "Person 3". @param {string} id */
export function label(id) {
  const number = id.match(/\d+$/)?.[0];
  return number ? `Person ${number}` : id;
}

/** @param {State} state @param {TrackLine[]} tracks */
function trackPicture(state, tracks) {
  const longest = [...tracks].sort((a, b) => (b.end - b.start) * (b.quality + 0.1) - (a.end - a.start) * (a.quality + 0.1))[0];
  return longest ? `/api/projects/${state.opened?.id}/tracks/${longest.id}/picture` : "";
}

/** The number of a person's part of the cast, or -1. @param {Project | null} project @param {string} id */
export const partOf = (project, id) => (project?.cast ?? []).findIndex((part) => part.person === id);

/** The track of a person that is in a frame. @param {Person} person @param {number} frame */
export const trackAt = (person, frame) => person.tracks.find((t) => t.start <= frame && frame < t.end);

/**
 * Give somebody a new face; no sources take it away. Cues know parts by number, so they are renumbered.
 * @param {Project} draft
 * @param {string} person
 * @param {string[]} sources
 */
export function assign(draft, person, sources) {
  draft.cast ??= [];
  const at = partOf(draft, person);
  if (at >= 0 && sources.length) draft.cast[at].sources = sources;
  else if (at >= 0) dropPart(draft, at);
  else if (sources.length) draft.cast.push({ person, sources });
}

/** @param {Project} draft @param {number} at */
function dropPart(draft, at) {
  draft.cast?.splice(at, 1);
  draft.cues = (draft.cues ?? []).flatMap((cue) => {
    const before = cue.roles ?? [];
    if (!before.length) return [cue];
    const roles = before.filter((n) => n !== at + 1).map((n) => (n > at + 1 ? n - 1 : n));
    return roles.length ? [{ ...cue, roles }] : []; // a cue of nobody would be one of everybody
  });
}

/**
 * Write down who has which tracks, as it is now, so that it can be changed.
 * @param {State} state
 * @param {Project} draft
 */
function spell(state, draft) {
  draft.people = everybody(state).map((p) => ({ id: p.id, name: p.name, tracks: p.tracks.map((t) => t.id) }));
  return draft.people;
}

/** @param {State} state @param {Project} draft @param {string} id @param {string} name */
export function rename(state, draft, id, name) {
  const known = (draft.people ??= []).find((n) => n.id === id);
  if (known) known.name = name;
  else draft.people.push({ id, name, tracks: [] });
}

/** `from` turns out to be `into`. @param {State} state @param {Project} draft @param {string} from @param {string} into */
export function merge(state, draft, from, into) {
  const all = spell(state, draft);
  const a = all.find((n) => n.id === from);
  const b = all.find((n) => n.id === into);
  if (!a || !b) return;
  b.tracks = [...b.tracks, ...a.tracks].sort((x, y) => x - y);
  draft.people = all.filter((n) => n.id !== from);
  const part = partOf(draft, from);
  if (part < 0) return;
  if (partOf(draft, into) < 0 && draft.cast) draft.cast[part].person = into;
  else dropPart(draft, part);
}

/**
 * Tracks are of somebody else: of `into`, or of somebody new.
 * @param {State} state
 * @param {Project} draft
 * @param {number[]} tracks
 * @param {string | null} into
 * @returns {string} Whose they are now.
 */
export function move(state, draft, tracks, into) {
  const all = spell(state, draft);
  const known = [...all.map((n) => n.id), ...(state.people?.people ?? []).map((p) => p.id)];
  const number = 1 + Math.max(0, ...known.map((id) => Number(id.match(/\d+$/)?.[0] ?? 0)));
  const id = into ?? `person${number}`;
  for (const n of all) n.tracks = n.tracks.filter((t) => !tracks.includes(t));
  const owner = all.find((n) => n.id === id);
  if (owner) owner.tracks = [...owner.tracks, ...tracks].sort((x, y) => x - y);
  else all.push({ id, name: label(id), tracks: [...tracks] });
  const gone = all.filter((n) => n.tracks.length === 0).map((n) => n.id);
  draft.people = all.filter((n) => n.tracks.length > 0);
  for (const id of gone) {
    const part = partOf(draft, id);
    if (part >= 0) dropPart(draft, part);
  }
  return id;
}
