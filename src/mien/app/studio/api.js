// @ts-check
/** Talking to the server: requests, uploads and the stream of events. */

/** @typedef {import("./types.js").Told} Told */

/** What the server refused, in the three parts that every error has. */
export class Failure extends Error {
  /** @param {Told} told @param {number} status */
  constructor(told, status) {
    super(told.subject ? `${told.subject}: ${told.problem}` : told.problem);
    this.told = told;
    this.status = status;
  }
}

/**
 * @param {any} body
 * @param {number} status
 */
function failure(body, status) {
  const told = body?.error ?? {
    kind: "internal",
    subject: "the server",
    problem: status ? `answered with status ${status}` : "cannot be reached",
    advice: status ? "" : "See whether `mien studio` is still running.",
  };
  return new Failure(told, status);
}

/**
 * @param {string} method
 * @param {string} path   Below /api.
 * @param {any} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(`/api${path}`, {
      method,
      signal,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw failure(null, 0);
  }
  const text = await answer.text();
  const isJson = (answer.headers.get("Content-Type") ?? "").includes("json");
  const found = text && isJson ? JSON.parse(text) : text;
  if (!answer.ok) throw failure(found, answer.status);
  return found;
}

export const get = (/** @type {string} */ path, /** @type {AbortSignal | undefined} */ signal = undefined) =>
  call("GET", path, undefined, signal);
/** A project with the moments of its clip's frames, where the rate varies. @param {import("./types.js").Opened} opened */
export async function timed(opened) {
  if (!opened.clip.variable) return opened;
  const { times } = await get(within(opened.id, "/times"));
  return { ...opened, clip: { ...opened.clip, times } };
}
export const post = (/** @type {string} */ path, /** @type {any} */ body = {}) => call("POST", path, body);
export const put = (/** @type {string} */ path, /** @type {any} */ body) => call("PUT", path, body);
export const remove = (/** @type {string} */ path) => call("DELETE", path);

/**
 * Send a file. `progress` is told shares from 0 to 1.
 * @param {Blob} file
 * @param {string} name
 * @param {(share: number) => void} [progress]
 * @returns {Promise<{path: string, name: string, kind: string, bytes: number}>}
 */
export function upload(file, name, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/uploads?name=${encodeURIComponent(name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (e) => e.lengthComputable && progress?.(e.loaded / e.total);
    request.onload = () =>
      request.status < 400 ? resolve(request.response) : reject(failure(request.response, request.status));
    request.onerror = () => reject(failure(null, 0));
    request.send(file);
  });
}

/** @param {string} path Of a source. */
export const sourcePicture = (path) => `/api/sources/picture?path=${encodeURIComponent(path)}`;

/** @param {string} path Below /api/projects/ID. @param {string} project */
export const within = (project, path) => `/projects/${encodeURIComponent(project)}${path}`;

/** Address of a WebSocket below /api. @param {string} path */
export const socketAddress = (path) => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api${path}`;

/**
 * Listen to what happens on the server. The browser reconnects by itself and resumes where it was.
 * @param {{job: (line: any) => void, removed: (r: {id: string}) => void, snapshot: (s: {jobs: string[]}) => void,
 *   project: (p: any) => void, model: (m: any) => void, connected: (is: boolean) => void}} on
 * @returns {() => void} Stops listening.
 */
export function listen(on) {
  const source = new EventSource("/api/events");
  source.onopen = () => on.connected(true);
  source.onerror = () => on.connected(false);
  for (const kind of /** @type {const} */ (["job", "removed", "snapshot", "project", "model"])) {
    source.addEventListener(kind, (e) => on[kind](JSON.parse(/** @type {MessageEvent} */ (e).data)));
  }
  return () => source.close();
}
