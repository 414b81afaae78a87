// @ts-check
/** Every face on every clip: one form, one job for each pair. */
import { post } from "./api.js";
import { browse } from "./browse.js";
import { button, h, icon } from "./dom.js";
import { attempt, dialog, toast } from "./overlay.js";
import { base } from "./time.js";

/** @typedef {import("./store.js").Store} Store */

/**
 * Ask for faces, clips and a folder, and put the jobs into the queue.
 * @param {Store} store
 * @param {string} folder  Where results go, to begin with.
 * @param {(line: any) => void} add
 */
export function batchDialog(store, folder, add) {
  return dialog("Batch: every face on every clip", (close) => {
    const faces = paths("Faces", "Add faces to the batch", ["image", "video"], folder, () => count());
    const clips = paths("Clips", "Add clips to the batch", ["video", "animation"], folder, () => count());
    const where = h("span", { class: "clip grow muted", text: folder, title: folder });
    const name = h("input", { type: "text", id: "batch-name", value: "{target}_{source}", spellcheck: "false" });
    const note = h("p", { class: "muted number", role: "status" });
    const ok = button({ icon: "film", text: "Add to the queue", label: "Add to the queue", class: "main", run: () => void attempt(async () => {
      ok.disabled = true; // a second click would add everything twice
      try {
        const lines = await post("/jobs/batch", { sources: faces.chosen, targets: clips.chosen, folder, name: name.value.trim(), settings: store.state.project?.settings ?? {} });
        lines.forEach(add);
        toast(`${lines.length} ${lines.length === 1 ? "job" : "jobs"} added to the queue.`);
        close(null);
      } finally {
        ok.disabled = false;
      }
    }) });
    const count = () => {
      const n = faces.chosen.length * clips.chosen.length;
      ok.disabled = n === 0;
      note.textContent = n ? `${faces.chosen.length} × ${clips.chosen.length} = ${n} ${n === 1 ? "result" : "results"}` : "Add at least one face and one clip.";
    };
    count();
    return {
      body: [
        h("p", { class: "muted", text: `Each face is put on the most prominent person of each clip, with ${store.state.project ? "the settings of this project's clip" : "the default settings"}.` }),
        faces.node, clips.node,
        h("div", { class: "setting" }, h("label", { for: "batch-name", text: "Name of each result" }), name),
        h("div", { class: "row" }, icon("folder"), where, button({ text: "Change", label: "Change the folder of the batch", class: "small", run: async () => {
          const chosen = await browse({ title: "Folder for the results", kinds: [], folder: true, start: folder });
          if (!chosen?.[0]) return;
          folder = chosen[0];
          where.textContent = where.title = folder;
        } })),
        note,
      ],
      foot: [button({ text: "Cancel", label: "Cancel", run: () => close(null) }), ok],
    };
  }, { width: "560px" });
}

/**
 * Files that can be added to and taken away.
 * @param {string} title @param {string} label @param {string[]} kinds @param {string} start @param {() => void} changed
 */
function paths(title, label, kinds, start, changed) {
  /** @type {string[]} */
  const chosen = [];
  const list = h("ul", { class: "files", "aria-label": title });
  const show = () => {
    list.hidden = chosen.length === 0;
    list.replaceChildren(...chosen.map((path) => h("li", { class: "row" }, h("span", { class: "grow clip", text: base(path), title: path }),
      button({ icon: "close", label: `Take ${base(path)} away`, class: "small", run: () => {
        chosen.splice(chosen.indexOf(path), 1);
        show();
      } }))));
    changed();
  };
  const add = button({ icon: "plus", text: "Add", label, class: "small", run: async () => {
    const more = await browse({ title: label, kinds, many: true, start });
    chosen.push(...(more ?? []).filter((path) => !chosen.includes(path)));
    if (more) show();
  } });
  list.hidden = true;
  return { chosen, node: h("section", { class: "column", "aria-label": title }, h("div", { class: "row" }, h("h2", { class: "grow", text: title }), add), list) };
}
