// @ts-check
/** Pictures from the server: single frames, playback over the WebSocket, and the sound that goes with it. */
import { socketAddress, within } from "./api.js";
import { clamp } from "./time.js";

/**
 * @typedef {ReturnType<typeof import("./time.js").clockOf>} Clock
 * @typedef {[number, number, number, number]} Box  x, y, width, height in display pixels.
 * @typedef {{frame: number, view: string, box: Box | null, image: ImageBitmap, ms: number, dropped: number,
 *   playing: boolean, fps: number, id: number}} Picture
 * @typedef {{frame: number, view: string, width: number, box: Box | null, project: any}} Wish
 */

/** One WebSocket that shows frames; the latest wish wins. */
export class Channel {
  /**
   * @param {string} project
   * @param {{picture: (p: Picture) => void, error: (told: any) => void, ended: (frame?: number) => void, open: (is: boolean) => void}} on
   */
  constructor(project, on) {
    this.project = project;
    this.on = on;
    this.closed = false;
    this.wait = 250;
    /** @type {Record<string, any> | null} */
    this.last = null;
    this.asked = 0;
    this.drawn = 0;
    this.number = 0;
    /** The part that each request was for. @type {Map<number, Box | null>} */
    this.boxes = new Map();
    this.connect();
  }

  connect() {
    const socket = new WebSocket(socketAddress(within(this.project, "/play")));
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.on.open(true);
      if (this.last) socket.send(JSON.stringify(this.last));
    };
    socket.onmessage = (e) => (typeof e.data === "string" ? this.text(e.data) : void this.binary(e.data));
    socket.onclose = () => {
      if (this.closed) return;
      this.on.open(false);
      setTimeout(() => !this.closed && this.connect(), this.wait);
      this.wait = Math.min(this.wait * 2, 5000);
    };
  }

  /** @param {string} data */
  text(data) {
    const message = JSON.parse(data);
    if (message.error) {
      if (message.id === null || message.id === this.number) this.on.error(message.error);
    } else if (message.ended) this.on.ended(message.frame);
  }

  /** @param {ArrayBuffer} data */
  async binary(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const number = ++this.asked;
    let image;
    try {
      image = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
    } catch {
      return; // a broken picture; the next one comes soon
    }
    if (number < this.drawn || this.closed) return image.close(); // a later one was faster
    this.drawn = number;
    this.wait = 250;
    this.on.picture({
      frame: header.frame, view: header.view, box: this.boxes.get(header.id) ?? null, image,
      id: header.id ?? 0, ms: header.ms ?? 0, dropped: header.dropped ?? 0, playing: Boolean(header.playing), fps: header.fps ?? 0,
    });
  }

  /** @param {Record<string, any>} message */
  send(message) {
    this.number += 1;
    this.last = { ...message, id: this.number };
    this.boxes.set(this.number, message.zoom ?? null);
    this.boxes.delete(this.number - 200);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(this.last));
  }

  close() {
    this.closed = true;
    this.socket?.close();
  }
}

/** What the stage asks for: frames, and playback in either direction. The server makes pictures smaller where they come late. */
export class Player {
  /**
   * @param {string} project
   * @param {Clock} time
   * @param {{picture: (p: Picture) => void, error: (told: any) => void, ended: (frame?: number) => void, open: (is: boolean) => void,
   *   frame: (n: number) => void}} on
   */
  constructor(project, time, on) {
    this.time = time;
    this.on = on;
    this.playing = false;
    this.sound = new Sound(project, time);
    this.main = new Channel(project, {
      ...on,
      picture: (p) => this.came(p),
      ended: (frame) => {
        if (!this.playing) return;
        this.halt();
        if (frame !== undefined) on.frame(frame);
        on.ended();
      },
    });
  }

  /** @param {Picture} p */
  came(p) {
    if (this.playing) {
      if (!p.playing) return p.image.close(); // of a wish before playback
      this.on.frame(p.frame);
      this.sound.follow(p.frame);
    }
    this.on.picture(p);
  }

  /** Show a frame. @param {Wish} wish */
  show(wish) {
    if (this.playing) this.halt();
    this.wish = wish;
    this.main.send({ show: wish.frame, view: wish.view, width: wish.width, zoom: wish.box, project: wish.project });
  }

  /**
   * Play on from a frame; negative speeds go backwards, frame by frame as fast as pictures come.
   * @param {Wish} wish
   * @param {number | null} until
   * @param {number} speed
   */
  play(wish, until, speed) {
    this.halt();
    this.playing = true;
    if (speed < 0) return this.reverse(wish, speed);
    this.start(wish, until, speed);
    this.sound.start(wish.frame, speed);
  }

  /** @param {Wish} wish @param {number | null | undefined} until @param {number | undefined} speed */
  start(wish, until, speed) {
    this.wish = wish;
    this.until = until ?? null;
    this.speed = speed ?? 1;
    this.main.send({ play: clamp(wish.frame, 0, this.time.frames - 1), until: this.until, speed: this.speed, view: wish.view, width: wish.width, zoom: wish.box, project: wish.project });
  }

  /** @param {Wish} wish @param {number} speed */
  reverse(wish, speed) {
    const begun = performance.now();
    const from = this.time.seconds(wish.frame);
    let last = wish.frame;
    const step = () => {
      const frame = this.time.at(from + ((performance.now() - begun) / 1000) * speed);
      if (frame === last && frame > 0) return;
      last = frame;
      if (frame <= 0) {
        this.on.frame(0);
        this.halt();
        return this.on.ended();
      }
      this.on.frame(frame);
      this.main.send({ show: frame, view: wish.view, width: wish.width, zoom: wish.box, project: wish.project });
    };
    this.playing = false; // single frames are taken
    this.timer = window.setInterval(step, Math.max(1000 * this.time.least, 40));
  }

  halt() {
    clearInterval(this.timer);
    this.timer = 0;
    this.sound.stop();
    if (!this.playing) return;
    this.playing = false;
    this.main.send({ stop: true });
  }

  close() {
    this.halt();
    this.main.close();
  }
}

const CHUNK = 20;

/** Sound in pieces of some seconds, set right where it runs away from the picture. */
class Sound {
  /** @param {string} project @param {Clock} time */
  constructor(project, time) {
    this.project = project;
    this.time = time;
    this.element = new Audio();
    this.element.preload = "auto";
    this.on = false;
    this.there = true;
    this.from = 0;
    this.waiting = false;
    this.element.addEventListener("ended", () => this.on && this.load(this.from + CHUNK));
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.element.muted = muted;
  }

  /** @param {number} frame @param {number} speed */
  start(frame, speed) {
    if (!this.there || speed < 0.5 || speed > 2) return;
    this.speed = speed;
    this.on = true;
    this.load(this.time.seconds(frame));
    this.waiting = true; // begins with the first picture
  }

  /** @param {number} from Seconds. */
  load(from) {
    if (from >= this.time.end) return;
    this.from = from;
    const seconds = Math.min(CHUNK, this.time.end - from);
    this.element.src = `/api${within(this.project, "/audio")}?start=${from.toFixed(4)}&seconds=${seconds.toFixed(4)}`;
    this.element.playbackRate = this.speed ?? 1;
    if (!this.waiting) void this.element.play().catch(() => {});
  }

  /** The picture is at this frame. @param {number} frame */
  follow(frame) {
    if (!this.on) return;
    if (this.waiting) {
      this.waiting = false;
      void this.element.play().catch(() => {});
    }
    const at = this.time.seconds(frame) - this.from;
    if (at > CHUNK) this.load(this.time.seconds(frame));
    else if (this.element.readyState >= 2 && Math.abs(this.element.currentTime - at) > 0.18 && at < (this.element.duration || 0)) {
      this.element.currentTime = Math.max(0, at);
    }
  }

  stop() {
    this.on = false;
    this.waiting = false;
    this.element.pause();
  }
}
