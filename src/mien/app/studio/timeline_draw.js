// @ts-check
/** Painting the timeline's canvas. */
import { everybody, partOf } from "./people.js";
import { ROWS } from "./timeline.js";

/** @typedef {import("./timeline.js").Timeline} Timeline */

const NAMES = ["bg", "panel", "raised", "line", "line-strong", "text", "muted", "accent", "warn", "bad", "wave", "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];

/** The page's colours, for a canvas. @param {HTMLElement} node @returns {Record<string, string>} */
export function colours(node) {
  const style = getComputedStyle(node);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** @param {CanvasRenderingContext2D} g @param {Timeline} t */
export function paint(g, t) {
  const width = t.width;
  const high = t.body.clientHeight;
  const c = t.colours;
  g.globalAlpha = 1;
  g.fillStyle = c.bg;
  g.fillRect(0, 0, width, high);
  if (!t.state.opened) return;
  let y = ruler(g, t, c);
  y = thumbs(g, t, c, y);
  if (t.state.opened.clip.audio) y = wave(g, t, c, y);
  for (const person of everybody(t.state)) y = lane(g, t, c, person, y);
  line(g, c.line, 0, high - 0.5, width);
  cuts(g, t, c, y);
  dim(g, t, c, high);
}

/** @param {CanvasRenderingContext2D} g @param {string} colour @param {number} x @param {number} y @param {number} w */
function line(g, colour, x, y, w) {
  g.fillStyle = colour;
  g.fillRect(x, Math.floor(y), w, 1);
}

/** @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c */
function ruler(g, t, c) {
  g.fillStyle = c.panel;
  g.fillRect(0, 0, t.width, ROWS.ruler);
  const { clock } = t;
  const { steps, unit } = clock;
  const scale = t.scale / unit;
  const place = (/** @type {number} */ mark) => (clock.zero + mark / unit - t.first) * t.scale;
  const big = steps.find((s) => s * scale >= 88) ?? steps[steps.length - 1];
  const small = [...steps].reverse().find((s) => s < big && big % s === 0 && s * scale >= 6) ?? big;
  const last = Math.round((clock.end - clock.zero) * unit);
  g.font = "11px system-ui, sans-serif";
  g.textBaseline = "middle";
  for (let f = Math.floor(((t.first - clock.zero) * unit + 1e-6) / small) * small; place(f) < t.width; f += small) {
    const x = Math.round(place(f));
    const main = f % big === 0;
    g.fillStyle = main ? c["line-strong"] : c.line;
    g.fillRect(x, main ? 4 : 16, 1, ROWS.ruler);
    if (!main || f > last) continue;
    g.fillStyle = c.muted;
    g.fillText(clock.mark(f), x + 4, 9);
  }
  line(g, c.line, 0, ROWS.ruler - 1, t.width);
  return ROWS.ruler;
}

/** @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c @param {number} y */
function thumbs(g, t, c, y) {
  const { sprite } = t;
  const cells = t.spriteCells ?? 0;
  if (sprite && cells && t.state.opened) {
    const cw = sprite.width / cells;
    const wide = (ROWS.thumbs * cw) / sprite.height;
    const end = Math.min(t.width, t.x(t.frames));
    const from = Math.floor(Math.max(0, -t.x(0)) / wide);
    for (let k = from; t.x(0) + k * wide < end; k++) {
      const x = t.x(0) + k * wide;
      const cell = Math.min(cells - 1, Math.max(0, Math.floor(t.share(x + wide / 2) * cells)));
      const part = Math.min(1, (end - x) / wide);
      g.drawImage(sprite, cell * cw, 0, cw * part, sprite.height, x, y, wide * part, ROWS.thumbs - 1);
    }
  }
  line(g, c.line, 0, y + ROWS.thumbs - 1, t.width);
  return y + ROWS.thumbs;
}

/** @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c @param {number} y */
function wave(g, t, c, y) {
  const { peaks } = t;
  const middle = y + ROWS.wave / 2;
  g.fillStyle = c.wave;
  const end = Math.min(t.width, t.x(t.frames));
  for (let x = 0; x < end && peaks.length; x++) {
    const a = Math.floor(t.share(x) * peaks.length);
    const b = Math.max(a + 1, Math.floor(t.share(x + 1) * peaks.length));
    let peak = 0;
    for (let k = a; k < b && k < peaks.length; k++) peak = Math.max(peak, peaks[k]);
    const tall = Math.max(0.5, Math.min(1, peak) * (ROWS.wave / 2 - 3));
    g.fillRect(x, middle - tall, 1, tall * 2);
  }
  line(g, c.line, 0, y + ROWS.wave - 1, t.width);
  return y + ROWS.wave;
}

/** @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c @param {import("./types.js").Person} p @param {number} y */
function lane(g, t, c, p, y) {
  const { state } = t;
  const chosen = state.scope.kind === "person" && state.scope.id === p.id;
  const part = state.project?.cast?.[partOf(state.project, p.id)];
  const on = Boolean(part && !part.off);
  const colour = c[`p${p.colour}`];
  if (chosen) {
    g.globalAlpha = 0.12;
    g.fillStyle = colour;
    g.fillRect(0, y, t.width, ROWS.person - 1);
  }
  const bottom = y + ROWS.person - 6;
  const tall = ROWS.person - 12;
  for (const track of p.tracks) {
    const [a, b] = [t.x(track.start), t.x(track.end)];
    if (b < 0 || a > t.width) continue;
    g.globalAlpha = on ? 0.26 : 0.14;
    g.fillStyle = colour;
    g.beginPath();
    g.roundRect(a, bottom - tall, Math.max(2, b - a), tall, 3);
    g.fill();
    for (const [from, to, quality] of track.presence ?? []) {
      const [x, x2] = [t.x(from), t.x(to)];
      if (x2 < 0 || x > t.width) continue;
      g.globalAlpha = on ? 1 : 0.5;
      const high = Math.max(2, tall * quality);
      g.fillRect(x, bottom - high, Math.max(1, x2 - x), high);
    }
    g.globalAlpha = 1;
    g.strokeStyle = colour;
    g.lineWidth = 1;
    if (!on) g.setLineDash([3, 3]);
    g.beginPath();
    g.roundRect(a + 0.5, bottom - tall - 0.5, Math.max(2, b - a) - 1, tall + 1, 3);
    g.stroke();
    g.setLineDash([]);
  }
  marks(g, t, c, p, y);
  g.globalAlpha = 1;
  line(g, c.line, 0, y + ROWS.person - 1, t.width);
  return y + ROWS.person;
}

/** Moments to look at, as small flags. @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c @param {import("./types.js").Person} p @param {number} y */
function marks(g, t, c, p, y) {
  for (const m of t.state.people?.moments ?? []) {
    if (!p.tracks.some((track) => track.id === m.track)) continue;
    const [a, b] = [t.x(m.frame), t.x(Math.max(m.end, m.frame + 1))];
    if (b < 0 || a > t.width) continue;
    g.globalAlpha = 1;
    g.fillStyle = c.warn;
    g.fillRect(a, y + 1, Math.max(2, b - a), 3);
    g.beginPath();
    g.moveTo(a - 3, y + 1);
    g.lineTo(a + 4, y + 1);
    g.lineTo(a + 0.5, y + 7);
    g.fill();
  }
}

/** @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c @param {number} bottom */
function cuts(g, t, c, bottom) {
  g.fillStyle = c.text;
  for (const cut of t.state.people?.cuts ?? []) {
    if (cut <= 0) continue;
    const x = Math.round(t.x(cut));
    g.globalAlpha = 0.85;
    g.fillRect(x, ROWS.ruler - 6, 1, 6 + ROWS.thumbs);
    g.globalAlpha = 0.25;
    g.fillRect(x, ROWS.ruler + ROWS.thumbs, 1, bottom - ROWS.ruler - ROWS.thumbs);
  }
  g.globalAlpha = 1;
}

/** What lies outside of in and out. @param {CanvasRenderingContext2D} g @param {Timeline} t @param {Record<string, string>} c @param {number} high */
function dim(g, t, c, high) {
  const [start, end] = t.range();
  g.globalAlpha = 0.62;
  g.fillStyle = c.bg;
  if (start > 0) g.fillRect(0, ROWS.ruler, Math.max(0, t.x(start)), high);
  if (end < t.frames) g.fillRect(t.x(end), ROWS.ruler, Math.max(0, t.width - t.x(end)), high);
  g.globalAlpha = 1;
}
