// @ts-check
/** Who is in the live picture: a dialog to choose one of them. */
import { get } from "./api.js";
import { h } from "./dom.js";
import { whom } from "./live_wish.js";
import { attempt, dialog } from "./overlay.js";

/** @typedef {import("./types.js").Sight} Sight */

const SIZE = 96;
/** Side of what is shown over the face's. */
const AROUND = 1.6;

/**
 * Choose somebody who is seen now.
 * @param {HTMLVideoElement} picture  As it comes from the run.
 * @returns {Promise<string | null>} Whom a role's `faces` means by it.
 */
export async function pickSeen(picture) {
  const told = await attempt(() => get("/live"));
  if (!told) return null;
  const seen = /** @type {Sight[]} */ (told.pulse?.seen ?? []);
  return dialog("Who is it?", (close) => ({
    body: seen.length
      ? [h("div", { class: "grid-sources" }, seen.map((one) => {
        const name = whom(String(one.track));
        return h("button", { type: "button", class: "pick", "aria-label": name, on: { click: () => close(String(one.track)) } }, portrait(picture, one), h("span", { class: "small name", text: name }));
      }))]
      : [h("p", { class: "muted", text: "Nobody is seen now." })],
  }), { width: "440px" });
}

/** Somebody's face as it is now. @param {HTMLVideoElement} picture @param {Sight} sight */
function portrait(picture, { box: [left, top, right, low] }) {
  const { videoWidth: width, videoHeight: height } = picture;
  const side = AROUND * Math.max((right - left) * width, (low - top) * height);
  const made = /** @type {HTMLCanvasElement} */ (h("canvas", { class: "thumb" }));
  made.width = made.height = SIZE;
  made.getContext("2d")?.drawImage(picture, ((left + right) * width - side) / 2, ((top + low) * height - side) / 2, side, side, 0, 0, SIZE, SIZE);
  return made;
}
