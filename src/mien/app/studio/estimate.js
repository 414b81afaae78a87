// @ts-check
/** How large a result will be, roughly. */

/** @typedef {import("./types.js").Clip} Clip */

/**
 * Bits a pixel at quality 85, the rate factor that quality means there and at 0, and by how many points of rate factor
 * the size falls to 0.58. For H.264, HEVC and AV1 from 25 frames each of six clips of people, 480p to 1080p: three
 * quarters of them lie within a factor of two, which is the range that is told; VP9 is set between HEVC and AV1.
 * @type {Record<string, [number, number, number, number]>}
 */
const RATED = { h264: [0.085, 17, 51, 6], hevc: [0.06, 18, 51, 6], av1: [0.07, 20, 63, 9], vp9: [0.065, 20, 63, 9] };
/** Bits a pixel of codecs whose size quality hardly changes: ProRes 422 HQ by its data sheet, FFV1 from the same clips. @type {Record<string, number>} */
const FIXED = { prores: 3.5, ffv1: 1.8 };
const SPREAD = 2;

/**
 * @param {Clip} clip
 * @param {Record<string, any>} encode  Settings of the group.
 * @param {number} frames
 * @param {number} seconds
 * @returns {{least: number, most: number} | null}  Bytes; null for codecs that are not known.
 */
export function estimate(clip, encode, frames, seconds) {
  const sound = clip.audio ? (160000 / 8) * seconds : 0;
  const codec = encode.codec === "auto" ? clip.codec : encode.codec;
  if (encode.bitrate > 0) {
    const bytes = (encode.bitrate / 8) * seconds + sound;
    return { least: bytes * 0.9, most: bytes * 1.1 };
  }
  const size = /^(\d+)x(\d+)$/.exec(encode.size ?? "");
  const pixels = size ? Number(size[1]) * Number(size[2]) : clip.width * clip.height;
  const [over, under] = String(encode.fps || "").split("/").map(Number);
  const count = over ? seconds * (over / (under || 1)) : frames;
  const bits = bitsPerPixel(codec, encode.quality);
  if (!bits) return null;
  const bytes = (pixels * count * bits) / 8;
  return { least: bytes / SPREAD + sound, most: bytes * SPREAD + sound };
}

/** @param {string} codec @param {number} quality  0 to 100. */
function bitsPerPixel(codec, quality) {
  if (codec in FIXED) return FIXED[codec];
  if (!(codec in RATED)) return 0;
  const [bits, best, worst, step] = RATED[codec];
  const factor = quality <= 85 ? best + ((85 - quality) * (worst - best)) / 85 : Math.max(1, (best * (100 - quality)) / 15);
  return quality === 100 ? FIXED.ffv1 : bits * 0.58 ** ((factor - best) / step);
}
