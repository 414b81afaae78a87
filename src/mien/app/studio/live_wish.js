// @ts-check
/** What a live run is to be, as the page keeps it and as the server is asked for it. */
import { label } from "./people.js";
import { swapperKind } from "./schema.js";
import { base } from "./time.js";

/** @typedef {import("./types.js").Live} Live */
/** @typedef {import("./types.js").Role} Role */
/** @typedef {import("./types.js").Told} Told */
/** @typedef {import("./types.js").Onair} Onair */

/** The words for whose face is replaced when it is nobody's: tracks of a live run are numbered from 1. */
export const NOBODY = "0";
/** What is asked of a camera that nobody asks anything of. */
const USUAL = { width: 1280, height: 720 };

/** Settings of `feed` that count for each kind of input; those that are not listed count for all. @type {Record<string, string[]>} */
const ONLY = {
  "feed.input": [],
  "feed.size": ["browser", "camera"],
  "feed.fps": ["browser", "camera"],
  "feed.pixels": ["camera"],
  "feed.sound": ["camera", "file", "stream"],
  "feed.loop": ["file"],
};

/** The kind of what comes in. @param {Live} live @returns {"browser" | "file" | "stream" | "camera"} */
export const kind = (live) => (live.source === "browser" || live.source === "file" || live.source === "stream" ? live.source : "camera");

/** Whether a setting counts for what comes in. @param {Live} live @param {string} full */
export const counts = (live, full) => ONLY[full]?.includes(kind(live)) ?? true;

/** @param {Live} live */
export function input(live) {
  return { browser: "browser", file: live.file, stream: live.address.trim(), camera: live.source }[kind(live)];
}

/** Where an input belongs in the page. @param {string} name @returns {Partial<Live>} */
export function sourceOf(name) {
  if (name === "browser") return { source: "browser" };
  if (name.includes("://")) return { source: "stream", address: name };
  return /[\\/]/.test(name) && !name.startsWith("/dev/") ? { source: "file", file: name } : { source: name };
}

/** Whether a swapper is a face by itself. @param {import("./types.js").Group | null | undefined} swap */
const isFace = (swap) => swapperKind(String(swap?.model ?? "")) === "dfm";

/** Who becomes whom. @param {Live} live @returns {Role[]} */
export function cast(live) {
  const given = live.cast.filter((role) => role.sources.length || isFace(role.swap));
  const roles = given.length || !isFace(live.settings.swap) ? given : [{ ...(live.cast[0] ?? { faces: "prominent", like: [] }), sources: [] }];
  return live.off ? roles.map((role) => ({ ...role, faces: NOBODY, like: [] })) : roles;
}

/** The same, as a run was asked for it. @param {Live} live @param {Onair} told @param {boolean} off @returns {Role[]} */
export function castOf(live, told, off) {
  return told.cast.map((role, k) => {
    const { faces, like } = off ? live.cast[k] ?? { faces: "prominent", like: [] } : role;
    return { ...role, faces, like };
  });
}

/** Those who are meant by number or picture come before those who are meant by a word, and everybody comes last: who has a face is not there for the next. @param {Role} role */
const rank = (role) => (role.like.length || /\d/.test(role.faces) ? 0 : role.faces === "all" ? 2 : 1);

/** In the order in which they choose. @param {Role[]} roles */
export const inTurn = (roles) => [...roles].sort((a, b) => rank(a) - rank(b));

/** Whom `faces` means, in words. @param {string} faces */
export const whom = (faces) => (/\d/.test(faces) ? faces.split(",").map((part) => label(part.trim())).join(", ") : faces);

/** What is missing before it can begin. @param {Live} live @returns {Told | null} */
export function missing(live) {
  const tell = (/** @type {string} */ subject, /** @type {string} */ problem, /** @type {string} */ advice) => ({ kind: "request", subject, problem, advice });
  if (!cast(live).length) return tell("New face", "is not chosen", "Choose a picture or a video of it.");
  if (kind(live) === "file" && !live.file) return tell("Video file", "is not chosen", "Choose one, or take a camera.");
  if (kind(live) === "stream" && !live.address.trim()) return tell("Address", "is empty", "Type one such as rtsp://192.168.1.20/stream.");
  return null;
}

/** What is asked of the browser's camera. @param {Live} live @returns {MediaTrackConstraints} */
export function constraints(live) {
  const { size, fps } = live.settings.feed ?? {};
  const [width, height] = String(size || "").split("x").map(Number);
  return {
    ...named(live.camera),
    width: { ideal: width || USUAL.width },
    height: { ideal: height || USUAL.height },
    ...(fps ? { frameRate: { ideal: Number(fps) } } : {}),
  };
}

/** @param {string} id @returns {MediaTrackConstraints} */
export const named = (id) => (id ? { deviceId: { exact: id } } : {});

/** What a run was asked for, to compare. @param {Onair} told */
export const asked = (told) => [told.feed, told.cast, told.settings];

/** A name for a recording that begins now. */
export function recording() {
  const here = Date.now() - new Date().getTimezoneOffset() * 60_000;
  return `live-${new Date(here).toISOString().slice(0, 19).replace(/:/g, "").replace("T", "-")}.mp4`;
}

/** What an output is called. @param {string} name */
export const outputName = (name) => (name === "virtual" ? "Virtual camera" : name.includes("://") ? name : base(name));
