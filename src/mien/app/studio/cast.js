// @ts-check
/** The cast: who is in the clip, the new faces, and who gets which. */
import { post, within } from "./api.js";
import { button, h, icon, renew } from "./dom.js";
import { assign, everybody, merge, move, partOf, rename, trackAt } from "./people.js";
import { ask, attempt, confirm, menu } from "./overlay.js";
import { added, addMenu, identities, keep, pickSources, sourceThumb, takeFiles } from "./sources.js";
import { base, clock, span } from "./time.js";
import { hasOwn } from "./values.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Person} Person */

const MIME = "application/x-mien-sources";

export class Cast {
  /** @param {Store} store @param {HTMLElement} panel */
  constructor(store, panel) {
    this.store = store;
    this.panel = panel;
    this.head = h("div", { class: "row" });
    this.people = h("ul", { class: "people", "aria-label": "People" });
    this.sources = h("div", { class: "sources", "aria-label": "New faces", role: "list" });
    this.add = button({ icon: "plus", text: "Add faces", label: "Add faces", class: "small", run: (e) => addMenu(store, /** @type {HTMLElement} */ (e.currentTarget)) });
    panel.append(
      h("section", { class: "column", "aria-label": "People in the clip" }, this.head, this.people),
      h("section", { class: "column sources-box", "aria-label": "New faces" }, h("div", { class: "row" }, h("h2", { class: "grow", text: "New faces" }), this.add), this.sources));
    this.dropFiles(panel);
    store.on(["people", "project", "scope", "opened", "jobs"], () => this.show());
    store.on(["pool", "project"], () => this.showSources());
  }

  /** Files dropped anywhere on the panel become new faces. @param {HTMLElement} node */
  dropFiles(node) {
    accept(node, "over", async (data) => {
      const files = [...data.files];
      if (files.length) await takeFiles(this.store, files);
    }, (types) => types.includes("Files"));
  }

  job() {
    const { opened, jobs } = this.store.state;
    return jobs.find((j) => j.project === opened?.id && j.kind === "analyse" && ["queued", "running", "paused"].includes(j.state));
  }

  async analyse() {
    const { opened } = this.store.state;
    if (!opened) return;
    await this.store.save();
    const line = await attempt(() => post(within(opened.id, "/analysis")));
    if (line) this.onJob?.(line);
  }

  /** @type {((line: any) => void) | undefined} */
  onJob;

  show() {
    const { state } = this.store;
    const people = everybody(state);
    const job = this.job();
    renew(this.head, [h("h2", { class: "grow", text: people.length ? `People (${people.length})` : "People" }),
      state.people && !job && button({ icon: "retry", label: "Analyse again", class: "small", data: { key: "again" }, run: () => this.again() })]);
    if (job) {
      const p = job.progress;
      return renew(this.people, [h("li", { class: "analysis" }, h("p", { text: job.state === "running" ? "Looking for people …" : "The analysis waits in the queue." }),
        h("progress", { max: p?.total || 1, value: p ? p.done : 0, "aria-label": "Analysis" }),
        h("p", { class: "muted small number", text: p ? `${p.stage}: ${p.done} of ${p.total} frames${p.eta ? `, ${span(p.eta)} left` : ""}` : "" }))]);
    }
    if (!state.people) {
      return renew(this.people, [h("li", { class: "empty" }, icon("person"), h("p", { text: state.opened ? "Find out who is in the clip. It is done once; settings can change afterwards." : "Open a clip first." }),
        state.opened && button({ text: "Analyse clip", label: "Analyse clip", class: "main", data: { key: "analyse" }, run: () => void this.analyse() }))]);
    }
    if (!people.length) return renew(this.people, [h("li", { class: "empty" }, icon("person"), h("p", { text: "No face was found. Try smaller faces under Settings, Detect, and analyse again." }))]);
    renew(this.people, people.map((p) => this.person(p)));
  }

  async again() {
    if (await confirm("Analyse again", "The clip is looked through once more with the settings of Detect and Track.", "Analyse")) await this.analyse();
  }

  /** @param {Person} p */
  person(p) {
    const { state } = this.store;
    const at = partOf(state.project, p.id);
    const part = state.project?.cast?.[at];
    const chosen = state.scope.kind === "person" && state.scope.id === p.id;
    const choose = () => this.store.set({ scope: { kind: "person", id: p.id } });
    const face = part?.sources?.length
      ? h("button", { type: "button", class: "face", "aria-label": `New face of ${p.name}: ${part.sources.map(base).join(", ")}. Change`, title: part.sources.map(base).join("\n"), data: { key: `face-${p.id}` },
          on: { click: () => void this.pick(p) } }, sourceThumb(part.sources[0], 48), part.sources.length > 1 && h("span", { class: "count", text: String(part.sources.length) }))
      : h("button", { type: "button", class: "face none", "aria-label": `Give ${p.name} a new face`, title: "Drop a picture here, or click to choose", data: { key: `face-${p.id}` }, on: { click: () => void this.pick(p) } }, icon("plus"));
    const node = h("li", { class: `person ${chosen ? "chosen" : ""} ${part?.off ? "off" : ""}`, data: { colour: p.colour, person: p.id } },
      h("button", { type: "button", class: "who", "aria-pressed": String(chosen), "aria-label": `${p.name}, ${span(p.seconds)} on screen`, data: { key: `who-${p.id}` }, on: { click: choose, dblclick: () => void this.rename(p) } },
        h("img", { src: p.picture, alt: "", width: 48, height: 48, draggable: "false" })),
      icon("arrow"), face,
      h("div", { class: "grow about" },
        h("div", { class: "row" }, h("span", { class: "dot" }), h("strong", { class: "clip", text: p.name, title: p.name })),
        h("span", { class: "muted small number clip", text: `${span(p.seconds)} · ${p.tracks.length} ${p.tracks.length === 1 ? "time" : "times"}` }),
        h("div", { class: "row" }, hasOwn(part) && h("span", { class: "chip accent", text: "own settings" }), part?.off && h("span", { class: "chip", text: "off" }))),
      button({ icon: "more", label: `More about ${p.name}`, class: "small", data: { key: `more-${p.id}` }, run: (e) => this.more(/** @type {HTMLElement} */ (e.currentTarget), p) }));
    accept(node, "over", async (data) => {
      const text = data.getData(MIME);
      const paths = text ? JSON.parse(text) : await takeFiles(this.store, [...data.files], { together: true });
      if (paths.length) this.give(p, paths);
    }, (types) => types.includes(MIME) || types.includes("Files"));
    return node;
  }

  /** @param {Person} p @param {string[]} paths */
  give(p, paths) {
    this.store.edit(paths.length ? `give ${p.name} a new face` : `take ${p.name}'s new face away`, (draft) => assign(draft, p.id, paths));
  }

  /** @param {Person} p */
  async pick(p) {
    const paths = await pickSources(this.store);
    if (paths) this.give(p, paths);
  }

  /** @param {Person} p */
  async rename(p) {
    const name = await ask("Rename", "Name", p.name);
    if (name && name !== p.name) this.store.edit("rename person", (draft) => rename(this.store.state, draft, p.id, name));
  }

  /** @param {HTMLElement} at @param {Person} p */
  more(at, p) {
    const { state } = this.store;
    const others = everybody(state).filter((o) => o.id !== p.id);
    const part = state.project?.cast?.[partOf(state.project, p.id)];
    const track = trackAt(p, state.frame);
    const next = p.tracks.filter((t) => t.start >= state.frame).sort((a, b) => a.start - b.start)[0];
    menu(at, [
      { text: "Choose a new face …", icon: "picture", run: () => void this.pick(p) },
      { text: "Add pictures to the new face …", icon: "plus", disabled: !part, run: async () => {
        const paths = await pickSources(this.store);
        if (paths) this.give(p, [...new Set([...(part?.sources ?? []), ...paths])]);
      } },
      { text: part?.off ? "Switch the new face on" : "Switch the new face off", icon: part?.off ? "eye" : "hidden", disabled: !part, run: () => this.store.edit(part?.off ? "switch new face on" : "switch new face off", (draft) => {
        const own = draft.cast?.[partOf(draft, p.id)];
        if (own) own.off = !own.off;
      }) },
      { text: "Take the new face away", icon: "close", disabled: !part, run: () => this.give(p, []) },
      null,
      { text: "Rename …", icon: "person", run: () => void this.rename(p) },
      { text: "Go to first appearance", icon: "first", run: () => this.store.set({ frame: p.tracks[0].start }) },
      null,
      { text: track ? `Not ${p.name} in this shot …` : `Not ${p.name} … (not in this frame)`, icon: "split_person", disabled: !track || p.tracks.length < 1, run: () => track && this.wrong(at, p, track.id) },
      { text: next ? `Split from the next appearance (${clock(state).code(next.start)})` : "Split (no later appearance)", icon: "cut", disabled: !next || !p.tracks.some((t) => t.start < state.frame), run: () => this.split(p) },
      { text: "Is the same as …", icon: "merge", disabled: !others.length, run: () => menu(at, others.map((o) => ({ text: o.name, icon: "person", run: () => this.join(p, o) }))) },
    ]);
  }

  /** "This is not her": a shot belongs to somebody else. @param {HTMLElement} at @param {Person} p @param {number} track */
  wrong(at, p, track) {
    const others = everybody(this.store.state).filter((o) => o.id !== p.id);
    const give = (/** @type {string | null} */ id) => this.store.edit("correct who it is", (draft) => {
      move(this.store.state, draft, [track], id);
    });
    menu(at, [
      ...others.map((o) => ({ text: `It is ${o.name}`, icon: "person", run: () => give(o.id) })),
      others.length ? null : false,
      { text: "It is somebody else", icon: "plus", disabled: p.tracks.length < 2, run: () => give(null) },
    ]);
  }

  /** @param {Person} p */
  split(p) {
    const later = p.tracks.filter((t) => t.start >= this.store.state.frame).map((t) => t.id);
    this.store.edit("split person", (draft) => {
      move(this.store.state, draft, later, null);
    });
  }

  /** @param {Person} p @param {Person} into */
  join(p, into) {
    this.store.edit("merge people", (draft) => merge(this.store.state, draft, p.id, into.id));
    this.store.set({ scope: { kind: "clip" } });
  }

  showSources() {
    const all = identities(this.store);
    renew(this.sources, all.length ? all.map((paths) => this.source(paths)) : [h("p", { class: "empty drop", text: "Drop pictures or a video of a face here, then drag it onto a person." })]);
  }

  /** @param {string[]} paths */
  source(paths) {
    const name = base(paths[0]).replace(/\.[^.]+$/, "");
    const node = h("div", { class: "source", role: "listitem", draggable: true, title: `${paths.map(base).join("\n")}\nDrag onto a person, or onto another face to use both together`, on: {
      dragstart: (/** @type {DragEvent} */ e) => {
        e.dataTransfer?.setData(MIME, JSON.stringify(paths));
        if (e.dataTransfer) e.dataTransfer.effectAllowed = "copy";
      },
    } },
      h("button", { type: "button", class: "pick", "aria-label": `New face ${name}`, data: { key: `source-${paths[0]}` }, on: { click: (/** @type {MouseEvent} */ e) => this.sourceMenu(/** @type {HTMLElement} */ (e.currentTarget), paths) } },
        sourceThumb(paths[0], 72), paths.length > 1 && h("span", { class: "count", text: String(paths.length) })),
      h("span", { class: "clip small", text: name }));
    accept(node, "over", async (data) => {
      const other = JSON.parse(data.getData(MIME) || "[]");
      if (other.length && other.join() !== paths.join()) this.together(paths, other);
    }, (types) => types.includes(MIME));
    return node;
  }

  /** @param {HTMLElement} at @param {string[]} paths */
  sourceMenu(at, paths) {
    const { state } = this.store;
    const people = everybody(state);
    const others = identities(this.store).filter((o) => o.join() !== paths.join());
    const rest = added(this.store).filter((s) => s.join() !== paths.join());
    const used = (state.project?.cast ?? []).some((p) => p.sources?.join() === paths.join());
    menu(at, [
      ...people.map((p) => ({ text: `Give to ${p.name}`, icon: "arrow", run: () => this.give(p, paths) })),
      people.length ? null : false,
      { text: "Use together with …", icon: "merge", disabled: !others.length, run: () => menu(at, others.map((o) => ({ text: base(o[0]), icon: "picture", run: () => this.together(o, paths) }))) },
      paths.length > 1 && { text: "Take the pictures apart", icon: "cut", run: () => keep(this.store, [...rest, ...paths.map((p) => [p])], "take pictures apart") },
      { text: used ? "Remove from the list (in use)" : "Remove from the list", icon: "trash", disabled: used, run: () => keep(this.store, rest, "remove a new face") },
    ]);
  }

  /** Several pictures of one identity. @param {string[]} a @param {string[]} b */
  together(a, b) {
    const both = [...new Set([...a, ...b])];
    const rest = added(this.store).filter((s) => s.join() !== a.join() && s.join() !== b.join());
    keep(this.store, [...rest, both], "use pictures together", (draft) => {
      for (const part of draft.cast ?? []) if (part.sources?.join() === a.join()) part.sources = both;
    });
  }
}

/**
 * Let something be dropped on an element.
 * @param {HTMLElement} node @param {string} mark @param {(data: DataTransfer) => any} take @param {(types: readonly string[]) => boolean} fits
 */
export function accept(node, mark, take, fits) {
  let depth = 0;
  const unmark = () => {
    depth = 0;
    node.classList.remove(mark);
  };
  const ok = (/** @type {DragEvent} */ e) => e.dataTransfer && fits(e.dataTransfer.types);
  node.addEventListener("dragenter", (e) => {
    if (!ok(e)) return;
    depth += 1;
    node.classList.add(mark);
  });
  node.addEventListener("dragleave", (e) => {
    if (!ok(e)) return;
    depth = Math.max(0, depth - 1);
    if (!depth) node.classList.remove(mark);
  });
  node.addEventListener("dragover", (e) => {
    if (!ok(e) || !e.dataTransfer) return;
    e.preventDefault();
    e.stopPropagation();
    e.dataTransfer.dropEffect = "copy";
  });
  node.addEventListener("drop", unmark, true); // a place within may take it, and tell nobody
  node.addEventListener("drop", (e) => {
    if (!ok(e) || !e.dataTransfer) return;
    e.preventDefault();
    e.stopPropagation();
    void attempt(() => take(/** @type {DataTransfer} */ (e.dataTransfer)));
  });
}
