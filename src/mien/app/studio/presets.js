// @ts-check
/** Presets: settings by name, kept on the server; and taking settings back. */
import { get, put, remove } from "./api.js";
import { ask, attempt, confirm, dialog, menu, toast } from "./overlay.js";
import { button, h } from "./dom.js";
import { differences, dropOwn } from "./values.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Groups} Groups */

/**
 * @typedef {object} Holder  Whose settings are kept as presets, loaded and reset.
 * @property {string} reset  What resetting them is called.
 * @property {() => Groups} all  Those that differ from the defaults.
 * @property {() => void} none  Resets them.
 * @property {(label: string, settings: Groups) => () => void} load  Returns the way back.
 */

/** The project's. @param {Store} store @returns {Holder} */
export function ofProject(store) {
  return {
    reset: store.state.scope.kind === "clip" ? "Reset all settings of the clip" : "Reset all settings here",
    all: () => store.state.project?.settings ?? {},
    none: () => reset(store),
    load: (label, settings) => {
      store.edit(label, (draft) => {
        draft.settings = differences(settings, store.state.defaults);
      });
      return () => store.undo();
    },
  };
}

/** @param {HTMLElement} at @param {Holder} of */
export async function presetMenu(at, of) {
  const names = await attempt(async () => list(await get("/presets")));
  if (!names) return;
  menu(at, [
    ...names.map((/** @type {string} */ name) => ({ text: `Load “${name}”`, icon: "right", run: () => void attempt(() => load(of, name)) })),
    names.length ? null : false,
    { text: "Save settings as a preset …", icon: "plus", run: () => void attempt(() => save(of, names)) },
    { text: "Manage presets …", icon: "gear", disabled: !names.length, run: () => void manage(names) },
    null,
    { text: of.reset, icon: "reset", run: of.none },
  ]);
}

/** @param {any} found @returns {string[]} */
const list = (found) => (Array.isArray(found) ? found : found?.presets ?? []).map((/** @type {any} */ p) => p.name ?? p);

/** A name may hold any sign, so it is no part of the path. @param {string} name */
const at = (name) => `/preset?name=${encodeURIComponent(name)}`;

/** @param {Holder} of @param {string} name */
async function load(of, name) {
  const found = await get(at(name));
  const undo = of.load(`load preset ${name}`, found.settings ?? found);
  toast(`Settings of “${name}” loaded.`, { action: { text: "Undo", run: undo } });
}

/** @param {Holder} of @param {string[]} names  Those there are. */
async function save(of, names) {
  const keep = (/** @type {string} */ name) => put(at(name), of.all());
  // What the server says to a new name stands beside the field.
  const said = await ask("Save preset", "Name of the preset", "", async (text) => void (names.includes(text.normalize()) || (await keep(text))));
  const name = said?.normalize(); // as the server keeps it
  if (!name) return;
  if (names.includes(name)) {
    if (!(await confirm("Overwrite", `A preset “${name}” exists already.`, "Overwrite", true))) return;
    await keep(name);
  }
  toast(`Preset “${name}” saved.`);
}

/** @param {string[]} names */
function manage(names) {
  return dialog("Presets", () => ({
    body: [h("ul", { class: "list" }, names.map((name) => {
      const row = h("li", { class: "row wide" }, h("span", { class: "grow clip", text: name }),
        button({ icon: "trash", label: `Delete preset ${name}`, run: () => void attempt(async () => {
          if (!(await confirm("Delete preset", `“${name}” will be gone.`, "Delete", true))) return;
          await remove(at(name));
          row.remove();
        }) }));
      return row;
    }))],
  }), { width: "360px" });
}

/** @param {Store} store */
function reset(store) {
  const { scope } = store.state;
  store.edit("reset all settings", (draft) => {
    if (scope.kind === "clip") draft.settings = {};
    else if (scope.kind === "cue") {
      const cue = draft.cues?.[scope.index];
      if (cue) Object.assign(cue, { values: {}, keys: [] });
    } else if (scope.kind === "person") dropOwn((draft.cast ?? []).find((p) => p.person === scope.id));
  });
}

