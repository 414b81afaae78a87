// @ts-check
/** Rendering: where to and how, and the queue with what becomes of it. */
import { Failure, get, post, remove, within } from "./api.js";
import { batchDialog } from "./batch.js";
import { browse } from "./browse.js";
import { button, h, icon, renew } from "./dom.js";
import { estimate } from "./estimate.js";
import { control } from "./fields.js";
import { attempt, confirm, dialog, menu, toast } from "./overlay.js";
import { fields } from "./schema.js";
import { base, clock, size, span } from "./time.js";
import { complete, read, write } from "./values.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Line} Line */

const SHOWN = ["encode.codec", "encode.quality", "encode.preset", "encode.size"];
const STATES = /** @type {Record<string, string>} */ ({ queued: "Queued", running: "Running", paused: "Paused", done: "Done", failed: "Failed", cancelled: "Cancelled" });
const OPEN = ["queued", "running", "paused"];

export class Render {
  /** @param {Store} store @param {HTMLElement} panel @param {() => [number, number]} range */
  constructor(store, panel, range) {
    this.store = store;
    this.range = range;
    this.form = h("section", { class: "column", "aria-label": "Render" });
    this.queue = h("ul", { class: "jobs", "aria-label": "Queue" });
    panel.append(this.form, h("section", { class: "column", "aria-label": "Jobs" }, 
      h("div", { class: "row" }, h("h2", { class: "grow", text: "Queue" }),
        button({ icon: "plus", text: "Batch", label: "Batch: every face on every clip", class: "small", run: () => void this.batch() })),
      this.queue));
    store.on(["schema", "opened"], () => this.build());
    store.on(["project", "defaults", "opened"], () => this.refresh());
    store.on(["jobs"], () => this.jobs());
  }

  build() {
    const { state } = this.store;
    if (!state.opened || !state.schema) {
      this.form.replaceChildren(h("h2", { text: "Render" }), h("p", { class: "muted", text: "Open a clip first." }));
      return;
    }
    const encode = fields(state.schema).find((g) => g.name === "encode")?.fields ?? [];
    this.endings = encode.find((f) => f.full === "encode.codec")?.endings ?? {};
    this.controls = encode.filter((f) => SHOWN.includes(f.full)).map((f) => {
      const id = `render-${f.name}`;
      const made = control(f, id, (value, live) => this.store.edit(f.title.toLowerCase(), (draft) => {
        write(this.store.state, draft, { kind: "clip" }, f, value);
        if (f.full === "encode.codec") this.suit(String(value), draft);
      }, live ? `set-${f.full}` : ""), () => []);
      return { f, show: made.show, node: h("div", { class: "setting" }, h("label", { for: id, text: f.title, title: f.text }), made.node) };
    });
    this.name = h("input", { type: "text", id: "render-name", spellcheck: "false", on: { change: () => this.place() } });
    this.where = h("span", { class: "clip grow muted" });
    this.note = h("p", { class: "muted number" });
    this.start = button({ icon: "film", text: "Render", label: "Render", class: "main", run: () => void this.render(false) });
    this.form.replaceChildren(
      h("h2", { text: "Render" }),
      h("div", { class: "setting" }, h("label", { for: "render-name", text: "File name" }), this.name),
      h("div", { class: "row" }, icon("folder"), this.where, button({ text: "Change", label: "Change the folder", class: "small", run: () => void this.move() })),
      ...this.controls.map((c) => c.node),
      this.note, this.start);
    this.refresh();
  }

  async move() {
    const chosen = await browse({ title: "Folder for the result", kinds: [], folder: true, start: this.folder });
    if (!chosen?.[0]) return;
    this.folder = chosen[0];
    this.place();
  }

  /** Show where the result goes: as it was told, or beside the clip. */
  placed() {
    const { opened, project } = this.store.state;
    if (!opened || document.activeElement === this.name) return;
    const target = opened.project.target;
    const beside = `${target.replace(/\.[^./\\]+$/, "")}-new${this.fitting(ending(target))}`;
    [this.folder, this.name.value] = split(project?.output ?? beside);
    this.where.textContent = this.where.title = this.folder;
  }

  get output() {
    const name = this.name.value.trim();
    const whole = /\.\w{2,4}$/.test(name) ? name : `${name}${this.fitting("")}`;
    const slash = this.folder?.includes("\\") ? "\\" : "/";
    return `${this.folder}${this.folder?.endsWith(slash) ? "" : slash}${whole}`;
  }

  /** An ending, or the one that editors expect where it cannot hold the codec. @param {string} given @param {string} [codec] */
  fitting(given, codec = String(complete(this.store.state).encode?.codec ?? "auto")) {
    const fits = this.endings?.[codec] ?? [];
    return fits.includes(given) ? given : fits[0] ?? ".mp4";
  }

  /** Another codec: the name ends as it must. @param {string} codec @param {any} draft */
  suit(codec, draft) {
    const now = this.name ? ending(this.output) : "";
    const wanted = this.fitting(now, codec);
    if (!now || wanted === now) return;
    this.name.value = `${this.name.value.trim().replace(/\.[^./\\]+$/, "")}${wanted}`;
    draft.output = this.output;
  }

  async batch() {
    await batchDialog(this.store, this.folder ?? "", (line) => this.onJob?.(line));
  }

  /** Remember where the result goes. */
  place() {
    this.store.edit("destination", (draft) => {
      draft.output = this.output;
    });
  }

  refresh() {
    const { state } = this.store;
    if (!state.opened || !this.controls) return;
    this.placed();
    for (const { f, show } of this.controls) show(read(state, { kind: "clip" }, f).value);
    const [start, end] = this.range();
    const time = clock(state);
    const found = estimate(state.opened.clip, complete(state).encode ?? {}, end - start, time.seconds(end) - time.seconds(start));
    const whole = end - start === state.opened.clip.frames;
    const about = found ? `about ${size(found.least)} to ${size(found.most)}` : "size not known beforehand";
    const anybody = (state.project?.cast ?? []).some((p) => !p.off && (p.sources?.length || (p.swap?.model ?? "").toString().endsWith(".dfm")));
    this.note.textContent = `${whole ? "Whole clip" : "In to out"}: ${end - start} frames, ${time.length(start, end)}; ${about}.${anybody ? "" : " Nobody has a new face yet."}`;
  }

  /** @param {boolean} overwrite */
  async render(overwrite) {
    const { opened } = this.store.state;
    if (!opened) return;
    await this.store.save();
    if (this.store.state.saving !== "saved") return;
    try {
      const line = await post(within(opened.id, "/render"), { output: this.output, ...(overwrite ? { overwrite } : {}) });
      this.onJob?.(line);
      toast("Added to the queue. Go on editing; it renders in the background.");
    } catch (error) {
      if (error instanceof Failure && error.status === 409 && !overwrite) {
        if (await confirm("Overwrite", `${this.output} exists already.`, "Overwrite", true)) await this.render(true);
        return;
      }
      await attempt(() => {
        throw error;
      });
    }
  }

  /** @type {((line: any) => void) | undefined} */
  onJob;

  jobs() {
    const { jobs } = this.store.state;
    const rank = (/** @type {Line} */ j) => (j.state === "running" ? 0 : OPEN.includes(j.state) ? 1 : 2);
    const sorted = [...jobs].sort((a, b) => rank(a) - rank(b) || (rank(a) < 2 ? a.position - b.position : Number(/** @type {any} */ (b).ended ?? 0) - Number(/** @type {any} */ (a).ended ?? 0)));
    renew(this.queue, sorted.length ? sorted.map((j) => this.line(j)) : [h("li", { class: "muted", text: "Nothing to do. Renders, analyses, reviews and downloads are listed here." })]);
  }

  /** @param {Line} j */
  line(j) {
    const act = (/** @type {string} */ what) => void attempt(async () => {
      const line = await post(`/jobs/${j.id}/${what}`);
      if (line?.id) this.onJob?.(line);
    });
    const key = (/** @type {string} */ what) => ({ key: `job-${j.id}-${what}` });
    const p = j.progress;
    const open = OPEN.includes(j.state);
    const done = j.state === "done" && j.kind === "swap";
    const tone = { done: "good", failed: "bad", running: "accent", paused: "warn" }[j.state] ?? "";
    return h("li", { class: "job", data: { state: j.state, job: String(j.id) } },
      h("div", { class: "row" }, icon({ swap: "film", analyse: "person", review: "flag", pull: "chip" }[j.kind] ?? "film"), h("span", { class: "grow clip", text: j.title, title: `${j.title}\n${j.output ?? ""}` }), h("span", { class: `chip ${tone}`, text: STATES[j.state] ?? j.state })),
      open && j.state !== "queued" && h("progress", { max: p?.total || 1, value: p?.done ?? 0, "aria-label": `Progress of ${j.title}` }),
      open && p && h("div", { class: "row muted small number" }, h("span", { class: "grow clip", text: progressText(j) }), j.state === "running" && p.eta > 0 && h("span", { text: `${span(p.eta)} left` })),
      j.error && h("p", { class: "bad small", text: `${j.error.subject}: ${j.error.problem}. ${j.error.advice}` }),
      j.state === "done" && j.finished && j.kind === "swap" && h("p", { class: "muted small number", text: doneText(j) }),
      j.warnings?.length > 0 && h("p", { class: "warn small", text: j.warnings.map((w) => `${w.subject}: ${w.message}`).slice(0, 2).join(" ") }),
      h("div", { class: "row" },
        done && button({ icon: "play", text: "Show", label: `Show the result of ${j.title}`, class: "small", data: key("show"), run: () => void showResult(j) }),
        done && h("a", { class: "button small", href: `/api/jobs/${j.id}/result`, download: base(j.output ?? "result.mp4"), data: key("save") }, icon("download"), "Download"),
        j.state === "running" && j.kind === "swap" && button({ icon: "pause", label: "Pause", class: "small", data: key("pause"), run: () => act("pause") }),
        j.state === "queued" && j.kind === "swap" && button({ icon: "pause", label: "Hold back", class: "small", data: key("pause"), run: () => act("pause") }),
        j.state === "paused" && button({ icon: "play", label: "Resume", class: "small", data: key("resume"), run: () => act("resume") }),
        ["failed", "cancelled"].includes(j.state) && button({ icon: "retry", text: "Retry", label: `Retry ${j.title}`, class: "small", data: key("retry"), run: () => act("retry") }),
        h("span", { class: "grow" }),
        open && button({ icon: "close", label: "Cancel", class: "small", data: key("cancel"), run: () => act("cancel") }),
        button({ icon: "more", label: `More about ${j.title}`, class: "small", data: key("more"), run: (e) => this.more(/** @type {HTMLElement} */ (e.currentTarget), j) })));
  }

  /** @param {HTMLElement} at @param {Line} j */
  more(at, j) {
    const waiting = this.store.state.jobs.filter((o) => o.state === "queued").sort((a, b) => a.position - b.position);
    const place = waiting.findIndex((o) => o.id === j.id);
    const move = (/** @type {number} */ to) => void attempt(() => post(`/jobs/${j.id}/move`, { position: to }));
    menu(at, [
      { text: "Show the log", icon: "log", run: () => void showLog(j) },
      j.state === "done" && j.kind === "swap" && { text: "Open its folder", icon: "folder", run: () => void attempt(() => post(`/jobs/${j.id}/show`)) },
      Boolean(j.output) && { text: "Copy the path of the result", icon: "copy", run: () => void attempt(async () => {
        await navigator.clipboard.writeText(j.output ?? "");
        toast("The path is in the clipboard.");
      }) },
      place >= 0 && { text: "Earlier", icon: "up", disabled: place === 0, run: () => move(waiting[place - 1].position) },
      place >= 0 && { text: "Later", icon: "down", disabled: place === waiting.length - 1, run: () => move(waiting[place + 1].position) },
      !OPEN.includes(j.state) && { text: "Remove from the list", icon: "trash", run: () => void attempt(() => remove(`/jobs/${j.id}`)) },
    ]);
  }
}

/** @param {string} path @returns {[string, string]} */
function split(path) {
  const at = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  return [path.slice(0, Math.max(at, 1)), path.slice(at + 1)];
}

/** @param {string} path */
const ending = (path) => (path.match(/\.[^./\\]+$/)?.[0] ?? "").toLowerCase();

/** @param {Line} j */
function progressText(j) {
  const p = /** @type {NonNullable<Line["progress"]>} */ (j.progress);
  if (p.stage === "models") return `${size(p.done)} of ${size(p.total)}`;
  return `${p.stage} ${p.done} / ${p.total}${p.fps > 0 ? ` · ${p.fps.toFixed(1)} fps` : ""}`;
}

/** @param {Line} j */
function doneText(j) {
  const f = /** @type {Record<string, any>} */ (j.finished);
  return `${f.frames} frames, ${f.faces} faces, ${span(f.seconds ?? 0)}${f.fps ? `, ${Number(f.fps).toFixed(1)} fps` : ""}`;
}

/** @param {Line} j */
function showResult(j) {
  return dialog(base(j.output ?? j.title), () => ({
    body: [
      h("video", { class: "result", controls: true, autoplay: true, src: `/api/jobs/${j.id}/result`, "aria-label": "Result" }),
      h("p", { class: "muted small path", text: j.output ?? "" }),
    ],
    foot: [h("a", { class: "button", href: `/api/jobs/${j.id}/result`, download: base(j.output ?? "result.mp4") }, icon("download"), "Download")],
  }), { width: "min(960px, 90vw)" });
}

/** @param {Line} j */
async function showLog(j) {
  const found = await attempt(() => get(`/jobs/${j.id}/log`));
  if (!found) return;
  const lines = (found.lines ?? []).map((/** @type {any} */ l) => (typeof l === "string" ? l : `${l.time ? new Date(l.time * 1000).toLocaleTimeString() + "  " : ""}${l.text ?? l.message ?? JSON.stringify(l)}`));
  await dialog(`Log: ${j.title}`, () => ({ body: [h("pre", { class: "log", tabindex: 0, text: lines.join("\n") || "Nothing was written yet." })] }), { width: "640px" });
}
