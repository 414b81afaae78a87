// @ts-check
/** The settings' JSON schema as fields of a form. */

/**
 * @typedef {object} Field
 * @property {string} group
 * @property {string} name
 * @property {string} full    "swap.strength".
 * @property {string} title
 * @property {string} text    What it means.
 * @property {"number" | "choice" | "flags" | "card" | "cards" | "numbers" | "text" | "switch"} kind
 * @property {number} [least]
 * @property {number} [most]
 * @property {boolean} [whole] Whole numbers only.
 * @property {number} step
 * @property {string[]} options
 * @property {string} unit
 * @property {string} task    Of the models to choose from.
 * @property {string[]} applies  Kinds of swappers it counts for; none: all.
 * @property {Record<string, string[]>} endings  Of file names that hold each option, the usual one first.
 * @property {string} pattern
 * @property {number} count   How many numbers.
 * @property {import("./types.js").Value} usual  What it is where nobody changed it.
 *
 * @typedef {{name: string, title: string, text: string, fields: Field[]}} Fields
 */

const ORDER = ["swap", "mask", "enhance", "feed", "encode", "detect", "track", "safety", "device"];
/** Groups that pass one depends on: a change needs a new analysis. */
export const BEFORE = new Set(["detect", "track"]);
/** Groups that a person or a cue may have of its own. */
export const OWN = new Set(["swap", "mask", "enhance"]);

/** @param {any} schema @param {any} node @returns {any} */
function resolve(schema, node) {
  let found = node;
  for (let depth = 0; found && depth < 5; depth++) {
    const ref = found.$ref ?? found.allOf?.[0]?.$ref;
    if (!ref) break;
    const { $ref: _, allOf: __, ...own } = found;
    found = { ...schema.$defs[ref.split("/").pop()], ...own };
  }
  const some = found?.anyOf?.find((/** @type {any} */ o) => o.type !== "null");
  return some ? { ...resolve(schema, some), ...found } : found;
}

/** @param {string} name */
export const titled = (name) => {
  const text = name.replace(/_/g, " ").replace(/\bfps\b/, "frame rate");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

const UNITS = /** @type {[RegExp, string][]} */ ([
  [/^milliseconds\b/i, "ms"],
  [/^seconds\b|\bin seconds\b|\bseconds between\b/i, "s"],
  [/\bin pixels\b|^height in pixels/i, "px"],
  [/^megabytes\b/i, "MB"],
  [/\bin bit\/s\b/i, "bit/s"],
]);

/** @param {any} schema @returns {Fields[]} */
export function fields(schema) {
  const groups = Object.entries(schema?.properties ?? {}).map(([name, node]) => {
    const group = resolve(schema, node);
    return {
      name,
      title: titled(name),
      text: plain(group.description ?? ""),
      fields: Object.entries(group.properties ?? {}).map(([key, value]) => field(schema, name, key, value)),
    };
  });
  const rank = (/** @type {string} */ name) => (ORDER.indexOf(name) + 1 || 99);
  return groups.sort((a, b) => rank(a.name) - rank(b.name));
}

/** What settings are where nobody changed them. @param {Fields[]} all @returns {import("./types.js").Groups} */
export const usual = (all) => Object.fromEntries(all.map((g) => [g.name, Object.fromEntries(g.fields.map((f) => [f.name, f.usual]))]));

/** Without the marks that a manual has. @param {string} text */
const plain = (text) => text.replace(/\s+/g, " ").replace(/`/g, "");

/** @param {any} schema @param {string} group @param {string} name @param {any} raw @returns {Field} */
function field(schema, group, name, raw) {
  const node = resolve(schema, raw);
  const text = plain(node.description ?? "");
  const item = resolve(schema, node.items ?? {});
  const type = node.type;
  const least = node.minimum ?? node.exclusiveMinimum;
  const most = node.maximum ?? node.exclusiveMaximum;
  const whole = type === "integer";
  const span = least !== undefined && most !== undefined ? most - least : 0;
  /** @type {Field} */
  const found = {
    group,
    name,
    full: `${group}.${name}`,
    title: node["x-title"] ?? titled(name),
    text,
    kind: "text",
    least,
    most,
    whole,
    step: node.multipleOf ?? (whole ? 1 : span && span <= 2 ? 0.01 : span <= 20 ? 0.05 : 1),
    options: (node.enum ?? item.enum ?? []).map(String),
    unit: node["x-unit"] ?? UNITS.find(([match]) => match.test(text))?.[1] ?? "",
    task: node["x-task"] ?? "",
    applies: node["x-applies"] ?? [],
    endings: node["x-endings"] ?? {},
    pattern: node.pattern ?? "",
    count: node.minItems ?? 0,
    usual: node.default ?? null,
  };
  if (type === "number" || type === "integer") found.kind = "number";
  else if (type === "boolean") found.kind = "switch";
  else if (type === "array" && found.options.length) found.kind = "flags";
  else if (type === "array" && (node.prefixItems || found.count)) found.kind = "numbers";
  else if (found.task) found.kind = node["x-many"] || /with commas/.test(text) ? "cards" : "card";
  else if (found.options.length) found.kind = "choice";
  if (found.kind === "numbers") {
    const part = resolve(schema, node.prefixItems?.[0] ?? item);
    Object.assign(found, { least: part.minimum, most: part.maximum, step: 0.01 });
  }
  return found;
}

/** What kind of swapper a model is. @param {string} model */
export const swapperKind = (model) =>
  model === "mesh" ? "mesh" : model.toLowerCase().endsWith(".dfm") ? "dfm" : "network";

/** @param {Field} field @param {string} model The swapper. */
export const applies = (field, model) =>
  field.applies.length === 0 || field.applies.includes(swapperKind(model)) || field.applies.includes(model);
