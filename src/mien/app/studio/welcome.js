// @ts-check
/** Opening a clip or a project, and what is seen before there is one. */
import { get, post, remove, upload, within } from "./api.js";
import { accept } from "./cast.js";
import { browse } from "./browse.js";
import { button, h, icon } from "./dom.js";
import { attempt, confirm, dialog, toast } from "./overlay.js";
import { chooseFiles, progress } from "./sources.js";
import { base } from "./time.js";

/**
 * Make a project of a clip that is on this device.
 * @param {File} file
 * @returns {Promise<any>} What was opened.
 */
export async function fromFile(file) {
  const bar = progress(file.name);
  try {
    const sent = await upload(file, file.name, bar.share);
    return await post("/projects", { target: sent.path, name: file.name.replace(/\.[^.]+$/, "") });
  } finally {
    bar.close();
  }
}

/** @param {(opened: any) => void} open @returns {HTMLElement[]} */
function ways(open) {
  return [
    button({ icon: "upload", text: "Clip from this device", label: "Clip from this device", class: "main", run: async () => {
      const [file] = await chooseFiles("video/*", false);
      if (file) await attempt(async () => open(await fromFile(file)));
    } }),
    button({ icon: "folder", text: "Clip from the server's folders", label: "Clip from the server's folders", run: async () => {
      const chosen = await browse({ title: "Open a clip", kinds: ["video", "animation"] });
      if (chosen?.[0]) await attempt(async () => open(await post("/projects", { target: chosen[0] })));
    } }),
  ];
}

/** @param {any[]} projects @param {(opened: any) => void} open @param {string} [current] */
function list(projects, open, current) {
  return h("ul", { class: "projects", "aria-label": "Projects" }, projects.map((p) => {
    const row = h("li", { class: "row" },
      h("button", { type: "button", class: "project grow", disabled: p.id === current, on: { click: () => void attempt(async () => open(await get(within(p.id, "")))) } },
        icon("film"), h("span", { class: "grow clip" }, h("strong", { text: p.name }), h("span", { class: "muted clip block small", text: base(p.target), title: p.target })),
        h("span", { class: "muted small number", text: when(p.changed) })),
      button({ icon: "trash", label: `Delete project ${p.name}`, disabled: p.id === current, run: () => void attempt(async () => {
        if (!(await confirm("Delete project", `“${p.name}” will be gone. The clip and finished results stay.`, "Delete", true))) return;
        await remove(within(p.id, ""));
        row.remove();
      }) }));
    return row;
  }));
}

/** @param {number | string} moment */
function when(moment) {
  const date = typeof moment === "number" ? new Date(moment * 1000) : new Date(moment);
  const today = new Date().toDateString() === date.toDateString();
  return today ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}

/** What the stage shows before a clip is open. @param {HTMLElement} box @param {(opened: any) => void} open @param {() => void} live */
export async function welcome(box, open, live) {
  const recent = h("div", { class: "recent" });
  box.replaceChildren(h("div", { class: "welcome-card" },
    h("img", { src: "icon.svg", alt: "", width: 48, height: 48 }),
    h("h1", { text: "Open a clip" }),
    h("p", { class: "muted", text: "Drop a video here. Then: find the people, drag a picture onto one of them, and render." }),
    h("div", { class: "row wide" }, ways(open)),
    h("div", { class: "row wide" }, h("span", { class: "muted", text: "Or without a clip:" }), button({ icon: "camera", text: "Live with a camera", label: "Live with a camera", run: live })), recent));
  const projects = (await attempt(() => get("/projects"))) ?? [];
  if (projects.length) recent.replaceChildren(h("h2", { text: "Recent projects" }), list(projects.slice(0, 8), open));
}

/** Files dropped on the stage become a clip. @param {HTMLElement} box @param {(opened: any) => void} open */
export function dropClip(box, open) {
  accept(box, "over", async (data) => {
    const file = [...data.files].find((f) => f.type.startsWith("video/") || /\.(mp4|mov|mkv|webm|avi|m4v|mxf)$/i.test(f.name));
    if (file) open(await fromFile(file));
    else toast("This is no video.", { bad: true, advice: "Drop a clip here, and pictures of new faces on the left side." });
  }, (types) => types.includes("Files") && !document.body.classList.contains("live"));
}

/** @param {(opened: any) => void} open @param {string} [current] */
export async function openDialog(open, current) {
  const projects = (await attempt(() => get("/projects"))) ?? [];
  await dialog("Open", (close) => {
    const chosen = (/** @type {any} */ opened) => {
      close(null);
      open(opened);
    };
    return { body: [h("div", { class: "row wide" }, ways(chosen)), h("h2", { text: "Projects" }), projects.length ? list(projects, chosen, current) : h("p", { class: "muted", text: "None yet." })] };
  }, { width: "560px" });
}
