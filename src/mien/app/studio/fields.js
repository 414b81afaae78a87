// @ts-check
/** One control a setting: a slider, a choice, a list of models ... Each can be given another value later. */
import { button, h } from "./dom.js";
import { clamp } from "./time.js";
import { titled } from "./schema.js";

/** @typedef {import("./schema.js").Field} Field */
/** @typedef {import("./types.js").Value} Value */
/** @typedef {import("./types.js").Model} Model */

/**
 * @typedef {object} Control
 * @property {HTMLElement} node
 * @property {(value: any) => void} show  Shows a value without telling of a change.
 */

/**
 * @param {Field} field
 * @param {string} id      Of the element that a label points to.
 * @param {(value: Value, live: boolean) => void} change  `live`: while something is being dragged.
 * @param {() => Model[]} models
 * @returns {Control}
 */
export function control(field, id, change, models) {
  if (field.kind === "number") return number(field, id, change);
  if (field.kind === "choice") return choice(field, id, change);
  if (field.kind === "switch") return toggle(id, change);
  if (field.kind === "flags") return flags(field, id, change);
  if (field.kind === "numbers") return numbers(field, id, change);
  if (field.kind === "card") return card(field, id, change, models);
  if (field.kind === "cards") return cards(field, id, change, models);
  return text(field, id, change);
}

/** @param {Field} f @param {number} value */
const rounded = (f, value) => (f.whole ? Math.round(value) : Number(value.toFixed(4)));

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @returns {Control} */
function number(f, id, change) {
  const bounded = f.least !== undefined && f.most !== undefined;
  // Wide ranges are crowded at their small end: the slider runs over the logarithm there.
  const wide = bounded && !f.whole && /** @type {number} */ (f.least) > 0 && /** @type {number} */ (f.most) / /** @type {number} */ (f.least) > 64;
  const to = (/** @type {number} */ v) => (wide ? Math.log(Math.max(v, /** @type {number} */ (f.least))) : v);
  const from = (/** @type {number} */ v) => (wide ? Math.round(Math.exp(v)) : v);
  const box = h("input", { type: "number", id, min: f.least, max: f.most, step: f.whole ? 1 : "any", class: "number-box" });
  const range = bounded
    ? h("input", {
        type: "range", min: to(/** @type {number} */ (f.least)), max: to(/** @type {number} */ (f.most)),
        step: wide ? "any" : f.step, "aria-label": f.title, tabindex: -1,
      })
    : null;
  const show = (/** @type {any} */ value) => {
    if (document.activeElement !== box || Number(box.value) !== value) box.value = String(value ?? "");
    if (range) {
      range.value = String(to(Number(value)));
      const share = (Number(range.value) - Number(range.min)) / (Number(range.max) - Number(range.min));
      range.style.setProperty("--share", `${share * 100}%`);
    }
  };
  const send = (/** @type {number} */ value, /** @type {boolean} */ live) => {
    const v = rounded(f, clamp(value, f.least ?? -Infinity, f.most ?? Infinity));
    show(v);
    change(v, live);
  };
  range?.addEventListener("input", () => send(from(Number(range.value)), true));
  box.addEventListener("change", () => box.value !== "" && send(Number(box.value), false));
  box.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    if (e.key !== "ArrowUp" && e.key !== "ArrowDown") return;
    e.preventDefault();
    const size = (f.whole ? 1 : f.step) * (e.shiftKey ? 10 : 1);
    send(Number(box.value) + (e.key === "ArrowUp" ? size : -size), false);
  });
  return { node: h("div", { class: "field-number" }, range, box, f.unit && h("span", { class: "muted unit", text: f.unit })), show };
}

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @returns {Control} */
function choice(f, id, change) {
  const node = h("select", { id, on: { change: () => change(node.value, false) } },
    f.options.map((o) => h("option", { value: o, text: o })));
  return { node, show: (value) => (node.value = String(value)) };
}

/** @param {string} id @param {(value: Value, live: boolean) => void} change @returns {Control} */
function toggle(id, change) {
  const node = h("input", { type: "checkbox", role: "switch", class: "switch", id, on: { change: () => change(node.checked, false) } });
  return { node, show: (value) => (node.checked = Boolean(value)) };
}

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @returns {Control} */
function flags(f, id, change) {
  const boxes = f.options.map((o) => button({
    text: titled(o), label: titled(o), class: "small flag", pressed: false, data: { value: o },
    run: (e) => {
      const node = /** @type {HTMLElement} */ (e.currentTarget);
      node.setAttribute("aria-pressed", String(node.getAttribute("aria-pressed") !== "true"));
      change(boxes.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.value ?? ""), false);
    },
  }));
  const node = h("div", { class: "flags", id, role: "group", "aria-label": f.title }, boxes);
  return { node, show: (value) => boxes.forEach((b) => b.setAttribute("aria-pressed", String((value ?? []).includes(b.dataset.value)))) };
}

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @returns {Control} */
function numbers(f, id, change) {
  const names = f.count === 4 ? ["Top", "Right", "Bottom", "Left"] : Array.from({ length: f.count }, (_, k) => `${k + 1}`);
  const boxes = names.map((name, k) => h("input", {
    type: "number", id: k === 0 ? id : undefined, "aria-label": `${f.title}, ${name.toLowerCase()}`, title: name,
    min: f.least, max: f.most, step: "any",
    on: { change: () => change(boxes.map((b) => clamp(Number(b.value), f.least ?? -Infinity, f.most ?? Infinity)), false) },
  }));
  const node = h("div", { class: "numbers" }, boxes.map((box, k) => h("span", { class: "column tight" }, box, h("span", { class: "muted small", text: names[k], "aria-hidden": "true" }))));
  return { node, show: (value) => boxes.forEach((b, k) => (b.value = String(value?.[k] ?? 0))) };
}

const SPECIAL = /** @type {Record<string, [string, string][]>} */ ({
  "swap.model": [["mesh", "mesh (no network needed)"]],
  "enhance.model": [["", "none"]],
  "track.refine": [["", "none"]],
  "track.embedder": [["auto", "auto (best installed)"], ["none", "none"]],
});

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @param {() => Model[]} models @returns {Control} */
function card(f, id, change, models) {
  const node = h("select", { id, on: { change: async () => change(node.value, false) } });
  let made = "";
  const show = (/** @type {any} */ value) => {
    const key = `${value}\n${models().map((m) => m.name + m.installed)}`;
    if (key === made) return;
    made = key;
    const special = SPECIAL[f.full] ?? [];
    const known = models().filter((m) => m.task === f.task && !special.some(([v]) => v === m.name));
    const here = known.filter((m) => m.installed);
    const away = known.filter((m) => !m.installed);
    const option = (/** @type {string} */ v, /** @type {string} */ t) => h("option", { value: v, text: t });
    const listed = [...special.map(([v]) => v), ...known.map((m) => m.name)];
    node.replaceChildren(
      ...special.map(([v, t]) => option(v, t)),
      ...(here.length ? [h("optgroup", { label: "Installed" }, here.map((m) => option(m.name, m.name)))] : []),
      ...(away.length ? [h("optgroup", { label: "To be fetched first" }, away.map((m) => option(m.name, m.name)))] : []),
      ...(listed.includes(String(value)) ? [] : [option(String(value), String(value) || "none")]),
    );
    node.value = String(value);
  };
  return { node, show };
}

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @param {() => Model[]} models @returns {Control} */
function cards(f, id, change, models) {
  const node = h("div", { class: "flags", id, role: "group", "aria-label": f.title });
  let made = "";
  const show = (/** @type {any} */ value) => {
    const key = `${value}\n${models().length}`;
    if (key === made) return;
    made = key;
    const chosen = String(value ?? "").split(",").map((s) => s.trim()).filter(Boolean);
    const names = [...new Set([...models().filter((m) => m.task === f.task).map((m) => m.name), ...chosen])];
    node.replaceChildren(...names.map((name) => button({
      text: name, label: name, class: "small flag", pressed: chosen.includes(name), data: { key: `${f.full}-${name}` },
      run: () => change((chosen.includes(name) ? chosen.filter((c) => c !== name) : [...chosen, name]).join(","), false),
    })));
    if (!names.length) node.replaceChildren(h("span", { class: "muted", text: "No network for this is known." }));
  };
  return { node, show };
}

/** @param {Field} f @param {string} id @param {(value: Value, live: boolean) => void} change @returns {Control} */
function text(f, id, change) {
  const node = h("input", { type: "text", id, pattern: f.pattern || undefined, placeholder: /empty keeps the input/.test(f.text) ? "as in the clip" : undefined, spellcheck: "false", on: { change: () => {
    const fits = node.checkValidity();
    node.classList.toggle("invalid", !fits);
    if (fits) change(node.value, false);
  } } });
  return { node, show: (value) => (node.value = String(value ?? "")) };
}
