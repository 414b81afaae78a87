// @ts-check
/** The allowed folders of the server: choosing files, or a folder. */
import { get } from "./api.js";
import { button, h, icon } from "./dom.js";
import { attempt, dialog } from "./overlay.js";
import { size } from "./time.js";

const ICONS = /** @type {Record<string, string>} */ ({ folder: "folder", video: "film", image: "picture", animation: "film", project: "log" });

/**
 * @param {{title: string, kinds: string[], many?: boolean, folder?: boolean, start?: string}} given  `folder`: choose one of those instead.
 * @returns {Promise<string[] | null>}
 */
export function browse(given) {
  return dialog(given.title, (close) => {
    /** @type {Set<string>} */
    const chosen = new Set();
    let here = given.start ?? "";
    const place = h("div", { class: "row", role: "navigation", "aria-label": "Folder" });
    const list = h("ul", { class: "files", "aria-label": "Files" });
    const ok = button({ text: given.folder ? "Use this folder" : "Choose", label: given.folder ? "Use this folder" : "Choose", class: "main", disabled: !given.folder,
      run: () => close(given.folder ? [here] : [...chosen]) });
    const show = async (/** @type {string} */ folder) => {
      const found = await attempt(() => get(`/files${folder ? `?folder=${encodeURIComponent(folder)}` : ""}`));
      if (!found) return;
      here = found.folder ?? "";
      chosen.clear();
      /** @type {HTMLButtonElement} */ (ok).disabled = given.folder ? !here : true;
      place.replaceChildren(
        button({ icon: "up", label: "Parent folder", class: "small", disabled: found.parent === null || found.parent === undefined, run: () => void show(found.parent ?? "") }),
        h("span", { class: "clip grow", text: here || "Allowed folders", title: here }));
      const entries = found.entries.filter((/** @type {any} */ e) => e.kind === "folder" || (!given.folder && given.kinds.includes(e.kind)));
      list.replaceChildren(...entries.map((/** @type {any} */ e) => {
        const node = h("button", { type: "button", "aria-pressed": e.kind === "folder" ? undefined : "false", on: {
          click: () => {
            if (e.kind === "folder") return void show(e.path);
            if (!given.many) {
              chosen.clear();
              for (const other of list.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", "false");
            }
            if (chosen.has(e.path)) chosen.delete(e.path);
            else chosen.add(e.path);
            node.setAttribute("aria-pressed", String(chosen.has(e.path)));
            /** @type {HTMLButtonElement} */ (ok).disabled = chosen.size === 0;
          },
          dblclick: () => e.kind !== "folder" && close([e.path]),
        } }, icon(ICONS[e.kind] ?? "picture"), h("span", { class: "grow clip", text: e.name }), e.kind !== "folder" && h("span", { class: "muted number", text: size(e.bytes) }));
        return h("li", {}, node);
      }));
      if (!entries.length) list.replaceChildren(h("li", { class: "muted empty", text: given.folder ? "No folders in here." : "Nothing here that can be used." }));
    };
    void show(here);
    return { body: [place, list], foot: [button({ text: "Cancel", label: "Cancel", run: () => close(null) }), ok] };
  }, { width: "560px" });
}
