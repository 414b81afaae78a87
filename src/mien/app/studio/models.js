// @ts-check
/** Networks: what is installed, under which licence, and getting more. */
import { get, post } from "./api.js";
import { button, h, renew } from "./dom.js";
import { attempt, dialog } from "./overlay.js";
import { size } from "./time.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Model} Model */

const TASKS = /** @type {Record<string, string>} */ ({
  swap: "Swappers", enhance: "Enhancers", detect: "Detectors", landmark: "Landmarkers", embed: "Recognisers", occlude: "Occlusion", parse: "Regions", safety: "Safety",
});

export class Models {
  /** @param {Store} store @param {HTMLElement} panel */
  constructor(store, panel) {
    this.store = store;
    this.search = "";
    this.task = "";
    this.tasks = "";
    this.box = h("input", { type: "search", placeholder: "Find a model", "aria-label": "Find a model", on: { input: () => {
      this.search = this.box.value.trim().toLowerCase();
      this.show();
    } } });
    this.filter = h("select", { "aria-label": "Task", on: { change: () => {
      this.task = this.filter.value;
      this.show();
    } } });
    this.list = h("div", { class: "column" });
    panel.append(h("p", { class: "muted", text: "The mesh swapper needs none of these. What you fetch belongs to its publisher and has its own licence." }),
      h("div", { class: "row" }, this.box, this.filter), this.list);
    store.on(["models", "jobs"], () => this.show());
  }

  show() {
    const { models, jobs } = this.store.state;
    const tasks = [...new Set(models.map((m) => m.task))];
    const wanted = ["", ...tasks].join();
    if (this.tasks !== wanted) {
      this.tasks = wanted;
      this.filter.replaceChildren(h("option", { value: "", text: "All tasks" }), ...tasks.map((t) => h("option", { value: t, text: TASKS[t] ?? t })));
      this.filter.value = this.task;
    }
    const fits = models.filter((m) => (!this.task || m.task === this.task) && (!this.search || `${m.name} ${m.notes} ${m.licence}`.toLowerCase().includes(this.search)));
    renew(this.list, tasks.filter((t) => fits.some((m) => m.task === t)).map((t) => h("section", { "aria-label": TASKS[t] ?? t }, h("h2", { text: TASKS[t] ?? t }),
      h("ul", { class: "models" }, fits.filter((m) => m.task === t).sort((a, b) => Number(b.installed) - Number(a.installed) || a.name.localeCompare(b.name)).map((m) => this.model(m, jobs))))));
    if (!fits.length) this.list.replaceChildren(h("p", { class: "muted", text: "No model fits." }));
  }

  /** @param {Model} m @param {import("./types.js").Line[]} jobs */
  model(m, jobs) {
    const job = jobs.find((j) => j.kind === "pull" && ["queued", "running"].includes(j.state) && (j.target === m.name || j.title.includes(m.name)));
    const use = { yes: ["good", "commercial use allowed"], no: ["warn", "no commercial use"] }[m.commercial] ?? ["", "commercial use unclear"];
    return h("li", { class: "model", data: { model: m.name } },
      h("div", { class: "row wide" }, h("strong", { class: "grow clip", text: m.name, title: m.name }), h("span", { class: "number muted", text: m.bytes ? size(m.bytes) : "" }),
        m.installed ? h("span", { class: "chip good", text: "installed" })
          : job ? h("span", { class: "chip accent", text: job.state === "running" ? "getting" : "queued" })
          : button({ icon: "download", text: "Get", label: `Get ${m.name}`, class: "small", data: { key: `get-${m.name}` }, run: () => void this.pull(m) })),
      job && h("progress", { max: job.progress?.total || 1, value: job.progress?.done ?? 0, "aria-label": `Getting ${m.name}` }),
      h("div", { class: "row" }, h("span", { class: "chip clip", text: m.licence || "licence unknown", title: m.licence }), h("span", { class: `chip ${use[0]}`, text: use[1] })),
      m.notes && h("p", { class: "muted small", text: m.notes.replace(/`/g, "") }));
  }

  /** @param {Model} m */
  async pull(m) {
    let accept = m.accepted;
    if (m.gated && !m.accepted) {
      accept = await dialog(`Licence of ${m.name}`, (close) => ({
        body: [h("p", { text: `${m.name} is published under: ${m.licence || "unknown terms"}.` }),
          h("p", { text: m.commercial === "yes" ? "Commercial use is allowed." : m.commercial === "no" ? "It may not be used commercially." : "Whether it may be used commercially is not clear." }),
          m.notes && h("p", { class: "muted", text: m.notes })].filter(Boolean),
        foot: [button({ text: "Cancel", label: "Cancel", run: () => close(false) }), button({ text: "Accept and get", label: "Accept and get", class: "main", run: () => close(true) })],
      }), { width: "440px" });
      if (!accept) return;
    }
    const line = await attempt(() => post(`/models/${encodeURIComponent(m.name)}/pull`, { accept_licence: Boolean(accept) }));
    if (line) this.onJob?.(line);
  }

  /** @type {((line: any) => void) | undefined} */
  onJob;

  /** Read the list anew. */
  async load() {
    const models = await attempt(() => get("/models"));
    if (models) this.store.set({ models });
  }
}
