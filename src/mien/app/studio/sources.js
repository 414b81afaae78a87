// @ts-check
/** New faces: pictures and videos that were dropped in, chosen or taken with the camera. */
import { get, sourcePicture, upload } from "./api.js";
import { browse } from "./browse.js";
import { button, h, icon } from "./dom.js";
import { attempt, dialog, menu, messages, toast } from "./overlay.js";
import { snapshot } from "./camera.js";
import { base } from "./time.js";

/** @typedef {import("./store.js").Store} Store */

const KEPT = "mien-pool-";

/** The new faces that were added: the project's, or this browser's where none is open. @param {Store} store @returns {string[][]} */
export const added = ({ state }) => (state.project ? state.project.identities ?? [] : state.pool);

/** The identities to choose from: those that were added, and those in the cast. @param {Store} store @returns {string[][]} */
export function identities(store) {
  const { project } = store.state;
  const pool = added(store);
  const used = [
    ...(project?.cast ?? []).map((p) => p.sources ?? []),
    ...(project?.cues ?? []).map((c) => c.sources ?? []),
  ].filter((s) => s.length);
  const keys = new Set(pool.map((s) => s.join("\n")));
  const more = used.filter((s) => !keys.has(s.join("\n")) && keys.add(s.join("\n")));
  return [...pool, ...more];
}

/**
 * Keep the new faces to choose from.
 * @param {Store} store
 * @param {string[][]} given  What is there twice is kept once.
 * @param {string} [label]  What was done, for "Undo ...".
 * @param {(draft: import("./types.js").Project) => void} [more]  Changes the project with it.
 */
export function keep(store, given, label = "add new faces", more = () => {}) {
  const pool = [...new Map(given.map((s) => [s.join("\n"), s])).values()];
  if (store.state.project) {
    return store.edit(label, (draft) => {
      draft.identities = pool;
      more(draft);
    });
  }
  store.set({ pool });
  localStorage.setItem(KEPT, JSON.stringify(pool));
}

/** The faces of who was live without a project. @param {Store} store */
export function recall(store) {
  try {
    store.set({ pool: JSON.parse(localStorage.getItem(KEPT) ?? "[]") });
  } catch {
    store.set({ pool: [] });
  }
}

/** Older pages kept a project's new faces in the browser: they become the project's. @param {Store} store @param {string} id */
export function takeOver(store, id) {
  const name = KEPT + id;
  const kept = localStorage.getItem(name);
  localStorage.removeItem(name);
  try {
    const old = JSON.parse(kept ?? "[]");
    if (old.length) keep(store, [...added(store), ...old], "take over new faces");
  } catch {
    // what cannot be read is gone
  }
}

/** The same of projects that are gone is forgotten. */
export async function forgetOld() {
  const left = Object.keys(localStorage).filter((name) => name.startsWith(KEPT) && name !== KEPT);
  if (!left.length) return;
  const there = new Set((await get("/projects")).map((/** @type {{id: string}} */ p) => KEPT + p.id));
  for (const name of left) if (!there.has(name)) localStorage.removeItem(name);
}

/** @param {string} path @param {number} size */
export function sourceThumb(path, size) {
  const node = h("img", { class: "thumb", alt: base(path), title: base(path), loading: "lazy", width: size, height: size, src: sourcePicture(path), draggable: false });
  node.addEventListener("error", () => node.replaceWith(h("span", { class: "thumb none", title: path, css: { width: `${size}px`, height: `${size}px` } }, icon("picture"))), { once: true });
  return node;
}

/**
 * Send files to the server; each is an identity of its own unless they are told to belong together.
 * @param {Store} store
 * @param {File[]} files
 * @param {{together?: boolean}} [how]
 * @returns {Promise<string[]>} Their paths.
 */
export async function takeFiles(store, files, how = {}) {
  const wanted = files.filter((f) => /^(image|video)\//.test(f.type) || /\.(jpe?g|png|webp|avif|gif|bmp|tiff?|mp4|mov|mkv|webm|avi)$/i.test(f.name));
  if (wanted.length < files.length) toast("Some files are neither pictures nor videos and were left out.", { bad: true });
  /** @type {string[]} */
  const paths = [];
  for (const file of wanted) {
    const done = progress(file.name);
    const sent = await attempt(() => upload(file, file.name, done.share));
    done.close();
    if (sent) paths.push(sent.path);
  }
  if (paths.length) keep(store, [...added(store), ...(how.together ? [paths] : paths.map((p) => [p]))]);
  return paths;
}

/** @param {string} name */
export function progress(name) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": `Sending ${name}` });
  const node = h("div", { class: "toast" }, h("div", { class: "grow column" }, h("span", { class: "clip", text: `Sending ${name}` }), bar));
  messages().append(node);
  return { share: (/** @type {number} */ s) => (bar.value = s), close: () => node.remove() };
}

/** Choose files with the browser's own dialog. @param {string} accept @param {boolean} multiple @returns {Promise<File[]>} */
export function chooseFiles(accept, multiple) {
  return new Promise((resolve) => {
    const field = h("input", { type: "file", accept, multiple, hidden: true });
    field.addEventListener("change", () => resolve([...(field.files ?? [])]));
    field.addEventListener("cancel", () => resolve([]));
    document.body.append(field);
    field.click();
    setTimeout(() => field.remove(), 60000);
  });
}

/** The ways to add a face. @param {Store} store @param {HTMLElement} at @param {(paths: string[]) => void} [then] */
export function addMenu(store, at, then) {
  const add = (/** @type {string[]} */ paths) => {
    if (paths.length) then?.(paths);
  };
  menu(at, [
    { text: "Pictures or videos from this device …", icon: "upload", run: async () => add(await takeFiles(store, await chooseFiles("image/*,video/*", true), { together: Boolean(then) })) },
    { text: "From the server's folders …", icon: "folder", run: async () => {
      const chosen = await browse({ title: "Choose faces", kinds: ["image", "video", "animation"], many: true });
      if (!chosen?.length) return;
      keep(store, [...added(store), ...(then ? [chosen] : chosen.map((p) => [p]))]);
      add(chosen);
    } },
    { text: "Take a picture with the camera …", icon: "camera", run: async () => {
      const file = await snapshot();
      if (file) add(await takeFiles(store, [file]));
    } },
  ]);
}

/** Choose one of the identities, or add one. @param {Store} store @returns {Promise<string[] | null>} */
export function pickSources(store) {
  return dialog("Choose a face", (close) => ({
    body: [
      h("div", { class: "grid-sources" }, identities(store).map((paths) => h("button", { type: "button", class: "pick", "aria-label": paths.map(base).join(", "), on: { click: () => close(paths) } },
        sourceThumb(paths[0], 72), paths.length > 1 && h("span", { class: "chip", text: `${paths.length} pictures` })))),
      button({ icon: "plus", text: "Add a face", label: "Add a face", run: (e) => addMenu(store, /** @type {HTMLElement} */ (e.currentTarget), (paths) => close(paths)) }),
    ],
  }), { width: "440px" });
}

