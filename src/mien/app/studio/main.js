// @ts-check
/** Puts the page together. */
import { Failure, get, listen, timed, within } from "./api.js";
import { Cast } from "./cast.js";
import { button, h, icon } from "./dom.js";
import { keys, showKeys } from "./keys.js";
import { LivePanel } from "./live.js";
import { Run } from "./live_run.js";
import { Models } from "./models.js";
import { Moments } from "./moments.js";
import { attempt, complain, dialog, menu, toast } from "./overlay.js";
import { Render } from "./render.js";
import { SettingsPanel } from "./settings.js";
import { forgetOld, recall, takeOver } from "./sources.js";
import { Stage } from "./stage.js";
import { Store } from "./store.js";
import { base } from "./time.js";
import { Timeline } from "./timeline.js";
import { Transport } from "./transport.js";
import { differences } from "./values.js";
import { dropClip, openDialog, welcome } from "./welcome.js";

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const store = new Store();

/**
 * Panels of which one is seen.
 * @param {HTMLElement} side
 * @param {{id: string, text: string, icon: string}[]} tabs
 * @param {(id: string) => void} [then]  Told which one is seen.
 */
function panels(side, tabs, then = () => {}) {
  const bar = h("div", { class: "tabs", role: "tablist" });
  const made = Object.fromEntries(tabs.map((t) => [t.id, {
    tab: h("button", { type: "button", role: "tab", id: `tab-${t.id}`, "aria-controls": `panel-${t.id}`, on: { click: () => show(t.id) } }, h("span", { text: t.text }), h("span", { class: "chip", hidden: true })),
    panel: h("div", { class: "panel", role: "tabpanel", id: `panel-${t.id}`, "aria-labelledby": `tab-${t.id}` }),
  }]));
  const show = (/** @type {string} */ id) => {
    for (const [name, { tab, panel }] of Object.entries(made)) {
      tab.setAttribute("aria-selected", String(name === id));
      tab.tabIndex = name === id ? 0 : -1;
      panel.hidden = name !== id;
    }
    then(id);
  };
  bar.append(...Object.values(made).map((m) => m.tab));
  bar.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!by) return;
    const all = /** @type {HTMLElement[]} */ ([...bar.children]);
    const next = all[(all.indexOf(/** @type {HTMLElement} */ (document.activeElement)) + by + all.length) % all.length];
    next.click();
    next.focus();
  });
  side.prepend(bar, ...Object.values(made).map((m) => m.panel));
  show(tabs[0].id);
  const badge = (/** @type {string} */ id, /** @type {string} */ text) => {
    const chip = made[id].tab.querySelector(".chip");
    chip.hidden = !text;
    chip.textContent = text;
  };
  return { show, badge, panel: (/** @type {string} */ id) => made[id].panel };
}

const left = panels(element("left"), [{ id: "cast", text: "Cast", icon: "person" }, { id: "moments", text: "Check", icon: "flag" }]);
const right = panels(element("right"), [{ id: "settings", text: "Settings", icon: "gear" }, { id: "render", text: "Render", icon: "film" }, { id: "models", text: "Models", icon: "chip" }, { id: "live", text: "Live", icon: "camera" }], (id) => seen(id));
const stage = new Stage(store, element("stage"));
const timeline = new Timeline(store, element("timeline"));
const transport = new Transport(store, stage, timeline, element("stage"));
const cast = new Cast(store, left.panel("cast"));
const moments = new Moments(store, left.panel("moments"), timeline.moments);
new SettingsPanel(store, right.panel("settings"));
const render = new Render(store, right.panel("render"), () => timeline.range());
const models = new Models(store, right.panel("models"));
stage.onWay = (/** @type {string} */ way) => (way === "models" ? right.show("models") : void cast.analyse());
moments.onSeek = () => store.state.playing && stage.pause();
moments.onCount = (/** @type {number} */ n) => left.badge("moments", n ? String(n) : "");
moments.show();
for (const part of [cast, moments, render, models]) part.onJob = (line) => took(line);
const run = new Run(store);
const live = new LivePanel(store, run, right.panel("live"), element("stage"), { leave: () => leave(), models: () => right.show("models") });
keys({ store, stage, timeline, transport, moments, live: live.keys() });
top_bar();

const start = h("div", { class: "welcome" });
element("stage").append(start);
dropClip(element("stage"), (opened) => open(opened));
store.on(["opened"], (s) => {
  start.hidden = Boolean(s.opened);
  document.body.classList.toggle("no-clip", !s.opened);
  document.title = s.opened ? `${s.opened.project.name} – mien studio` : "mien studio";
});
store.on(["place"], (s) => {
  document.body.classList.toggle("live", s.place === "live");
  if (s.place === "live" && s.playing) stage.pause();
});
store.on(["air"], (s) => right.badge("live", s.air.phase === "running" ? "on" : ""));
store.on(["scope"], (s) => s.scope.kind !== "clip" && right.show("settings"));

/** Open a project. @param {import("./types.js").Opened} given */
async function open(given) {
  const opened = await attempt(() => timed(given));
  if (!opened) return;
  await store.save();
  const project = { ...opened.project, settings: differences(opened.project.settings ?? {}, store.state.defaults) };
  localStorage.setItem("mien-project", opened.id);
  history.replaceState(null, "", `#${opened.id}`);
  store.set({ opened, people: null, frame: 0, playing: false, scope: { kind: "clip" }, moment: -1, saving: "saved" });
  store.begin(project);
  takeOver(store, opened.id);
  leave();
  for (const note of opened.clip.notes ?? []) toast(`${base(opened.project.target)}: ${note}`, { bad: true });
  if (opened.analysed) await loadPeople();
}

/** A panel on the right is seen: the middle shows what it is about. @param {string} id */
function seen(id) {
  if (id === "live") {
    store.set({ place: "live" });
    void live.open();
  } else if (store.state.opened) store.set({ place: "clip" });
}

/** Back from live to the clip, or to where one opens one. What runs goes on. */
function leave() {
  if (store.state.place === "live") right.show("settings");
  store.set({ place: "clip" });
}

async function loadPeople() {
  const { opened } = store.state;
  if (!opened) return;
  const found = await attempt(() => get(within(opened.id, "/people")));
  if (found && store.state.opened?.id === opened.id) store.set({ people: found, opened: { ...store.state.opened, analysed: true } });
}

/** A job changed. @param {import("./types.js").Line} line */
function took(line) {
  const before = store.state.jobs.find((j) => j.id === line.id);
  const jobs = before ? store.state.jobs.map((j) => (j.id === line.id ? line : j)) : [...store.state.jobs, line];
  store.set({ jobs });
  if (!before || before.state === line.state) return;
  if (line.state === "done" && line.kind === "analyse" && line.project === store.state.opened?.id) void loadPeople();
  if (line.state === "done" && line.kind === "review" && line.project === store.state.opened?.id) void reviewed(line);
  if (line.state === "done" && line.kind === "swap" && line.project === store.state.opened?.id && store.state.people) void loadPeople();
  if (line.state === "done" && line.kind === "swap") toast(`${line.title} is done.`, { action: { text: "Show", run: () => right.show("render") } });
  if (line.state === "done" && line.kind === "pull") void models.load();
  if (line.state === "failed") toast(`${line.title} failed: ${line.error?.problem ?? ""}`, { bad: true, advice: line.error?.advice });
}

/** A result was looked through. @param {import("./types.js").Line} line */
async function reviewed(line) {
  await loadPeople();
  const found = line.finished?.moments ?? 0;
  const shown = store.state.people?.moments.some((m) => m.result);
  if (!line.finished?.faces) return toast(`${line.title}: it shows no new face.`, { bad: true });
  if (!found) return toast(`${line.title}: nothing looks bad.`);
  if (!shown) return toast(`${line.title}: ${found} to check, by an analysis that is not this project's any more.`, { bad: true, advice: "The queue lists them. Render again, then look that result through." });
  toast(`${line.title}: ${found} to check.`, { action: { text: "Check", run: () => left.show("moments") } });
}

/** Somebody else changed the project. @param {{id: string, revision: number}} event */
async function elsewhere(event) {
  const { opened, saving } = store.state;
  if (opened?.id !== event.id || event.revision <= opened.revision || saving !== "saved") return;
  const newer = await attempt(async () => timed(await get(within(event.id, ""))));
  if (!newer || store.state.saving !== "saved" || newer.revision <= (store.state.opened?.revision ?? 0)) return;
  store.set({ opened: newer });
  store.begin({ ...newer.project, settings: differences(newer.project.settings ?? {}, store.state.defaults) });
  toast("The project was changed elsewhere; this page shows it as it is now.");
}

store.onFailure = complain;
store.onConflict = async (/** @type {any} */ newer) => {
  const mine = await dialog("Changed elsewhere", (close) => ({
    body: [h("p", { text: "This project was changed in another window or by hand since it was opened here." })],
    foot: [button({ text: "Take the other version", label: "Take the other version", run: () => close(false) }), button({ text: "Keep mine", label: "Keep mine", class: "main", run: () => close(true) })],
  }), { width: "440px" });
  if (mine) return store.keepMine(newer.revision);
  const opened = await attempt(() => timed(newer));
  if (!opened) return;
  store.set({ opened });
  store.begin({ ...newer.project, settings: differences(newer.project.settings ?? {}, store.state.defaults) });
};
window.addEventListener("beforeunload", (e) => {
  if (store.state.saving === "unsaved" || store.state.saving === "failed") e.preventDefault();
});

// A file beside the places that take one would be opened by the browser instead of this page.
for (const kind of /** @type {const} */ (["dragover", "drop"])) {
  document.addEventListener(kind, (e) => {
    if (!e.dataTransfer?.types.includes("Files")) return;
    e.preventDefault();
    e.dataTransfer.dropEffect = "none";
  });
}

function top_bar() {
  const name = h("input", { type: "text", class: "project-name", "aria-label": "Name of the project", spellcheck: "false", on: { change: () => {
    name.blur(); // what has the focus is not changed from elsewhere
    if (name.value.trim()) store.edit("rename project", (d) => (d.name = name.value.trim()));
  } } });
  const undo = button({ icon: "undo", label: "Undo (Ctrl+Z)", run: () => store.undo() });
  const redo = button({ icon: "redo", label: "Redo (Ctrl+Shift+Z)", run: () => store.redo() });
  const saved = h("span", { class: "muted small save-state", role: "status" });
  const queue = button({ icon: "film", text: "", label: "Queue", class: "queue-button", run: () => right.show("render") });
  const air = button({ icon: "record", text: "Live", label: "Live is on: show it", class: "on-air", run: () => right.show("live") });
  const theme = button({ icon: "auto", label: "Colours", run: (e) => themeMenu(/** @type {HTMLElement} */ (e.currentTarget)) });
  const go = button({ icon: "film", text: "Render", label: "Go to render", class: "main", run: () => right.show("render") });
  const facts = h("span", { class: "muted small clip number" });
  element("top").append(
    h("span", { class: "brand" }, h("img", { src: "icon.svg", alt: "" }), "mien"), h("span", { class: "divider" }),
    button({ icon: "folder", text: "Open", label: "Open", run: () => void openDialog((o) => void open(o), store.state.opened?.id) }),
    name, saved, undo, redo, facts, h("span", { class: "grow" }),
    air, queue, button({ icon: "keyboard", label: "Keys (?)", run: () => void showKeys() }), theme,
    go);
  store.on(["project", "opened"], (s) => {
    if (document.activeElement !== name) name.value = s.project?.name ?? "";
    name.hidden = go.hidden = !s.opened;
    const c = s.opened?.clip;
    facts.textContent = c ? `${c.width} × ${c.height} · ${Number((c.frames / c.seconds).toFixed(3))} fps${c.variable ? " on average" : ""} · ${c.codec}` : "";
  });
  store.on(["saving", "opened"], (s) => {
    saved.hidden = !s.opened;
    saved.textContent = { saved: "Saved", unsaved: "Saving …", saving: "Saving …", failed: "Not saved", conflict: "Conflict" }[s.saving];
    saved.classList.toggle("bad", s.saving === "failed" || s.saving === "conflict");
  });
  store.on(["history", "opened"], (s) => {
    const past = store.past[store.past.length - 1];
    const future = store.future[store.future.length - 1];
    undo.disabled = !past;
    redo.disabled = !future;
    undo.title = past ? `Undo: ${past.label} (Ctrl+Z)` : "Undo (Ctrl+Z)";
    redo.title = future ? `Redo: ${future.label} (Ctrl+Shift+Z)` : "Redo (Ctrl+Shift+Z)";
    undo.hidden = redo.hidden = !s.opened;
  });
  store.on(["air"], (s) => (air.hidden = s.air.phase === "idle"));
  store.on(["jobs"], (s) => {
    const open = s.jobs.filter((j) => ["queued", "running"].includes(j.state));
    const run = open.find((j) => j.state === "running");
    const p = run?.progress;
    const share = p && p.total ? ` ${Math.floor((100 * p.done) / p.total)} %` : "";
    queue.hidden = open.length === 0;
    queue.replaceChildren(icon("film"), h("span", { class: "number", text: run ? `${open.length > 1 ? `${open.length} jobs,` : ""}${share || " starting"}`.trim() : `${open.length} queued` }));
    right.badge("render", open.length ? String(open.length) : "");
  });
}

/** @param {HTMLElement} at */
function themeMenu(at) {
  const choose = (/** @type {string} */ value) => {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
    localStorage.setItem("mien-theme", value);
  };
  menu(at, [
    { text: "As the system", icon: "auto", run: () => choose("") },
    { text: "Dark", icon: "moon", run: () => choose("dark") },
    { text: "Light", icon: "sun", run: () => choose("light") },
  ]);
}

async function begin() {
  const [schema, defaults] = await Promise.all([get("/settings/schema"), get("/settings/defaults")]);
  store.set({ schema, defaults });
  void models.load();
  void forgetOld().catch(() => {}); // there is time for it when it is seen next
  /** Takes away what says so while the server is not there. @type {(() => void) | null} */
  let back = null;
  listen({
    job: took,
    removed: ({ id }) => store.set({ jobs: store.state.jobs.filter((j) => j.id !== id) }),
    snapshot: ({ jobs }) => store.set({ jobs: store.state.jobs.filter((j) => jobs.includes(String(j.id))) }),
    project: (event) => void elsewhere(event),
    model: () => void models.load(),
    connected: (is) => {
      if (is) back?.();
      back = is ? null : back ?? toast("The server cannot be reached. Trying again …", { bad: true });
    },
  });
  const id = location.hash.slice(1) || localStorage.getItem("mien-project");
  if (id) {
    try {
      await open(await get(within(id, "")));
    } catch (error) {
      if (!(error instanceof Failure && error.status === 404)) complain(error);
      localStorage.removeItem("mien-project");
      history.replaceState(null, "", location.pathname);
    }
  }
  if (!store.state.opened) {
    recall(store);
    await welcome(start, (opened) => void open(opened), () => right.show("live"));
  }
}

void begin().catch(complain);

