// @ts-check
/** Frames, seconds and how they are written. Nothing else on the page turns one into the other. */

/** @typedef {{rate: string, frames: number, start?: number, variable?: boolean, times?: number[]}} Paced  What of a clip decides its times. */

const two = (/** @type {number} */ n) => String(Math.trunc(n)).padStart(2, "0");
const NEAR = 1e-6; // seconds, or frames, that sums of floats may be off

/** "1:02" or "1:00:02". @param {number} seconds */
function whole(seconds) {
  const hours = Math.floor(seconds / 3600);
  const head = hours ? `${hours}:${two((seconds / 60) % 60)}` : `${Math.floor(seconds / 60)}`;
  return `${head}:${two(seconds % 60)}`;
}

/**
 * When the frames of a clip are shown. Seconds count from the clip's beginning, as everywhere in mien: the first frame is
 * later where sound comes before it. A frame's number may be that of the frame after the last one: the end.
 */
export class Clock {
  /** @param {number} frames */
  constructor(frames) {
    this.frames = frames;
  }

  /** When a frame is shown. @param {number} frame @returns {number} */
  seconds(frame) {
    return frame;
  }

  /** The first frame at or after a moment, as the server reads moments. @param {number} seconds @returns {number} */
  from(seconds) {
    return seconds;
  }

  /** The frame that is seen at a moment. @param {number} seconds */
  at(seconds) {
    const next = this.from(seconds);
    return clamp(this.seconds(next) - seconds > NEAR || next >= this.frames ? next - 1 : next, 0, this.frames - 1);
  }

  /** The frame, or the end, that begins closest to a moment. @param {number} seconds */
  nearest(seconds) {
    const next = clamp(this.from(seconds), 0, this.frames);
    return next > 0 && seconds - this.seconds(next - 1) < this.seconds(next) - seconds ? next - 1 : next;
  }

  /** A frame's moment, written. @param {number} frame */
  code(frame) {
    return String(frame);
  }

  /** How long it is from a frame to another, written. @param {number} start @param {number} end */
  length(start, end) {
    return String(end - start);
  }

  get begin() {
    return this.seconds(0);
  }

  get end() {
    return this.seconds(this.frames);
  }

  /**
   * The frame of a moment as a project stores it: "250f", "12.5", "1:02.5".
   * @param {string | undefined | null} text
   * @param {number} empty  What an empty text means.
   */
  read(text, empty) {
    const given = (text ?? "").trim();
    if (!given) return empty;
    if (given.endsWith("f")) return Math.round(Number(given.slice(0, -1)));
    const seconds = added(given.split(":"));
    return Number.isFinite(seconds) ? this.from(seconds) : empty;
  }

  /** What somebody typed: seconds "62.4" or "1:02.4", a frame "250", or as `code` writes. @param {string} text @returns {number | null} */
  typed(text) {
    const t = text.trim();
    if (/^\d+f?$/.test(t)) return parseInt(t, 10);
    const parts = t.split(/[:;]/);
    const seconds = added(parts);
    if (!t || !Number.isFinite(seconds)) return null;
    return t.includes(".") ? this.from(seconds) : this.coded(parts);
  }

  /** The frame of "1:02:03" without a point. @param {string[]} parts */
  coded(parts) {
    return this.from(added(parts));
  }
}

/** Hours, minutes and seconds as seconds. @param {string[]} parts */
const added = (parts) => parts.reduce((sum, part) => sum * 60 + Number(part), 0);

/** Frames at a constant rate: a moment is written as minutes, seconds and frames. */
class Even extends Clock {
  /** @param {number} frames @param {number} rate  Frames a second. @param {number} start  When the first one is shown. */
  constructor(frames, rate, start) {
    super(frames);
    this.unit = rate; // marks of the ruler a second
    this.zero = start; // where it counts from
    this.least = 1 / rate; // how long the shortest frame is shown
    const base = Math.max(1, Math.round(rate));
    this.steps = [...new Set([1, 2, 5, 10, ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].map((s) => s * base)])].sort((a, b) => a - b);
  }

  /** @override @param {number} frame */
  seconds(frame) {
    return this.zero + frame / this.unit;
  }

  /** @override @param {number} seconds */
  from(seconds) {
    return Math.max(0, Math.ceil((seconds - this.zero) * this.unit - NEAR));
  }

  /** @override @param {number} frame */
  code(frame) {
    const seconds = Math.floor(frame / this.unit + NEAR / 100);
    return `${whole(seconds)}:${two(frame - this.first(seconds))}`;
  }

  /** @override @param {number} start @param {number} end */
  length(start, end) {
    return this.code(end - start);
  }

  /** @override @param {string[]} parts */
  coded(parts) {
    return this.first(added(parts.slice(0, -1))) + Number(parts[parts.length - 1]);
  }

  /** The first frame of a whole second of the timecode. @param {number} seconds */
  first(seconds) {
    return Math.ceil(seconds * this.unit - NEAR);
  }

  /** What the ruler says at a mark. @param {number} mark */
  mark(mark) {
    return this.code(mark);
  }
}

/** Each frame at a moment of its own, in milliseconds: frames are no unit of time there. */
class Uneven extends Clock {
  /** @param {number[]} times  Of each frame, and of the end. */
  constructor(times) {
    super(times.length - 1);
    this.times = times;
    this.unit = 1000;
    this.zero = 0;
    this.least = Math.max(0.004, times.reduce((least, t, k) => (k ? Math.min(least, t - times[k - 1]) : least), Infinity));
    this.steps = [5, 10, 20, 50, 100, 200, 500, ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].map((s) => s * 1000)];
  }

  /** @override @param {number} frame */
  seconds(frame) {
    return this.times[clamp(frame, 0, this.frames)];
  }

  /** @override @param {number} seconds */
  from(seconds) {
    let [low, high] = [0, this.frames];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < seconds - NEAR / 1000) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @override @param {number} frame */
  code(frame) {
    return milli(this.seconds(frame));
  }

  /** @override @param {number} start @param {number} end */
  length(start, end) {
    return milli(this.seconds(end) - this.seconds(start));
  }

  /** What the ruler says at a mark. @param {number} mark */
  mark(mark) {
    return milli(mark / 1000);
  }
}

/** "1:02.500", cut, so that it is never later than the moment and can be typed again. @param {number} seconds */
function milli(seconds) {
  const ms = Math.floor(Math.max(0, seconds) * 1000 + 1e-3);
  return `${whole(Math.floor(ms / 1000))}.${String(ms % 1000).padStart(3, "0")}`;
}

/** @type {WeakMap<Paced, Even | Uneven>} */
const clocks = new WeakMap();

/** When the frames of a clip are shown. @param {Paced} clip */
export function clockOf(clip) {
  let found = clocks.get(clip);
  if (!found) {
    const [over, under] = clip.rate.split("/");
    found = clip.times?.length ? new Uneven(clip.times) : new Even(clip.frames, Number(over) / Number(under || 1) || 25, clip.start ?? 0);
    clocks.set(clip, found);
  }
  return found;
}

const NONE = { rate: "25", frames: 1 };

/** That of the clip that is open. @param {import("./types.js").State} state */
export const clock = (state) => clockOf(state.opened?.clip ?? NONE);

/** "12 s", "3 min 5 s", "2 h 10 min". @param {number} seconds */
export function span(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** @param {number} frame */
export const momentText = (frame) => `${Math.max(0, Math.round(frame))}f`;

/** "12.3 MB". @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let k = 0;
  while (value >= 1000 && k < units.length - 1) {
    value /= 1000;
    k += 1;
  }
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[k]}`;
}

/** @param {number} value @param {number} least @param {number} most */
export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** Name of a file without its folder. @param {string} path */
export const base = (path) => path.split(/[\\/]/).pop() ?? path;
