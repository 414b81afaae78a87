// @ts-check
/** The browser's cameras and microphones: which there are, getting one, and a picture from one. */
import { Failure } from "./api.js";
import { button, h } from "./dom.js";
import { attempt, dialog } from "./overlay.js";

/** @typedef {{id: string, name: string}} Device */

/** Milliseconds for which a camera's first picture is waited for. */
const PATIENCE = 10_000;
/** Name of what a browser threw, to what it means for a camera or microphone, and what to do. @type {Record<string, [string, string]>} */
const WHY = {
  NotAllowedError: ["may not be used", "Allow it in the browser's address bar, and try again."],
  NotFoundError: ["was not found", "Connect one, and try again."],
  OverconstrainedError: ["is not connected any more", "Choose another one."],
  NotReadableError: ["cannot be opened", "Close the program that has it, and try again."],
};

/**
 * Devices by name. Before they may be used, browsers name none of them.
 * @param {"videoinput" | "audioinput"} kind
 * @returns {Promise<Device[]>}
 */
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const what = kind === "videoinput" ? "Camera" : "Microphone";
  return all.filter((d) => d.kind === kind && d.deviceId).map((d, k) => ({ id: d.deviceId, name: d.label || `${what} ${k + 1}` }));
}

/**
 * Ask for a camera or a microphone; the browser asks for permission where there is none yet.
 * @param {"Camera" | "Microphone"} what
 * @param {MediaTrackConstraints} wanted
 * @returns {Promise<MediaStreamTrack>}
 * @throws {Failure} There is none, or it may not be used.
 */
export async function device(what, wanted) {
  const fail = (/** @type {string} */ problem, /** @type {string} */ advice) => new Failure({ kind: "media", subject: what, problem, advice }, 0);
  if (!navigator.mediaDevices?.getUserMedia) throw fail("is not given to this page", "Open the studio as http://127.0.0.1 or over HTTPS.");
  try {
    const stream = await navigator.mediaDevices.getUserMedia(what === "Camera" ? { video: wanted, audio: false } : { audio: wanted });
    return stream.getTracks()[0];
  } catch (error) {
    const [problem, advice] = WHY[/** @type {Error} */ (error).name] ?? ["cannot be used", String(/** @type {Error} */ (error).message ?? "")];
    throw fail(problem, advice);
  }
}

/**
 * Width and height of what a camera gives, "1280x720".
 * @param {MediaStreamTrack} track
 * @returns {Promise<string>}
 * @throws {Failure} It gives nothing.
 */
export function pictureSize(track) {
  const video = h("video", { muted: true, playsinline: true });
  video.srcObject = new MediaStream([track]);
  return new Promise((done, failed) => {
    video.addEventListener("loadedmetadata", () => done(sizeText(video)), { once: true });
    setTimeout(() => failed(new Failure({ kind: "media", subject: "Camera", problem: "gives no pictures", advice: "Choose another one." }, 0)), PATIENCE);
  });
}

/** @param {HTMLVideoElement} video */
export const sizeText = (video) => `${video.videoWidth}x${video.videoHeight}`;

/** @returns {Promise<File | null>} */
export async function snapshot() {
  const track = await attempt(() => device("Camera", { width: { ideal: 1280 }, height: { ideal: 720 } }));
  if (!track) return null;
  const video = h("video", { class: "camera", autoplay: true, playsinline: true, muted: true, "aria-label": "Camera" });
  video.srcObject = new MediaStream([track]);
  return dialog("Take a picture", (close) => ({
    body: [video, h("p", { class: "muted", text: "Look straight into the camera, evenly lit, without spectacles." })],
    foot: [
      button({ text: "Cancel", label: "Cancel", run: () => close(null) }),
      button({ icon: "camera", text: "Take picture", label: "Take picture", class: "main", run: async () => {
        const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
        canvas.getContext("2d").drawImage(video, 0, 0);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
        const stamp = new Date().toISOString().slice(0, 19).replace(/[-:T]/g, "");
        close(new File([/** @type {Blob} */ (blob)], `camera-${stamp}.jpg`, { type: "image/jpeg" }));
      } }),
    ],
  }), { width: "560px", onClose: () => track.stop() });
}
