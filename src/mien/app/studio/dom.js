// @ts-check
/** Building and renewing elements. */
import { PATHS } from "./icons.js";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element. Properties: `class`, `text`, `on` (listeners), `data` (data-*), `css` (inline properties, set
 * through the object model because the page allows no style attributes), everything else as attribute or property.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const node = /** @type {any} */ (document.createElement(tag));
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "on") {
      for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    } else if (name === "data") {
      for (const [key, item] of Object.entries(/** @type {Record<string, any>} */ (value))) node.dataset[key] = item;
    } else if (name === "css") {
      for (const [key, item] of Object.entries(/** @type {Record<string, any>} */ (value))) {
        node.style.setProperty(key, String(item));
      }
    } else if (["value", "checked", "disabled", "hidden", "muted", "draggable", "open", "selected"].includes(name)) {
      node[name] = value;
    } else if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, String(value));
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/**
 * A picture for a button.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of PATHS[name] ?? []) {
    const path = document.createElementNS(space, "path");
    const filled = d.startsWith("!");
    path.setAttribute("d", filled ? d.slice(1) : d);
    if (filled) path.setAttribute("class", "filled");
    svg.append(path);
  }
  return svg;
}

/**
 * @param {{icon?: string, label: string, text?: string, title?: string, class?: string, run: (e: MouseEvent) => any,
 *   pressed?: boolean, disabled?: boolean, data?: Record<string, any>}} given  `label` is the accessible name.
 * @returns {HTMLButtonElement}
 */
export function button(given) {
  return h(
    "button",
    {
      type: "button",
      class: `button ${given.text === undefined && given.icon ? "only-icon" : ""} ${given.class ?? ""}`,
      title: given.title ?? (given.text ? undefined : given.label),
      "aria-label": given.text === given.label ? undefined : given.label,
      "aria-pressed": given.pressed === undefined ? undefined : String(given.pressed),
      disabled: given.disabled ?? false,
      data: given.data,
      on: { click: given.run },
    },
    given.icon && icon(given.icon),
    given.text,
  );
}

/**
 * Put other children into an element; where the focus was is found again by `data-key`.
 * @param {HTMLElement} box
 * @param {Child[]} children
 */
export function renew(box, children) {
  const active = /** @type {HTMLElement | null} */ (document.activeElement);
  const key = active && box.contains(active) ? active.dataset.key : undefined;
  const top = box.scrollTop;
  box.replaceChildren(.../** @type {any[]} */ (children.filter((c) => c !== null && c !== undefined && c !== false)));
  box.scrollTop = top;
  if (key) /** @type {HTMLElement | null} */ (box.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus();
}

/**
 * A row of buttons of which one is chosen.
 * @param {string} label
 * @param {{value: string, text?: string, icon?: string, label: string}[]} options
 * @param {string} value
 * @param {(value: string) => void} run
 */
export function segmented(label, options, value, run) {
  const group = h("div", { class: "segmented", role: "group", "aria-label": label });
  for (const option of options) {
    const node = button({
      icon: option.icon,
      text: option.text,
      label: option.label,
      title: option.label,
      pressed: option.value === value,
      data: { value: option.value, key: `${label}-${option.value}` },
      run: () => run(option.value),
    });
    group.append(node);
  }
  return group;
}

/** @param {HTMLElement} group @param {string} value */
export function press(group, value) {
  for (const node of group.querySelectorAll("button")) {
    node.setAttribute("aria-pressed", String(node.dataset.value === value));
  }
}

/**
 * Keep a function from running more often than once a frame of the screen.
 * @param {() => void} run
 */
export function paced(run) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      run();
    });
  };
}

/**
 * Follow a pointer from press to release.
 * @param {PointerEvent} down
 * @param {(e: PointerEvent, dx: number, dy: number) => void} move
 * @param {(e: PointerEvent, moved: boolean) => void} [done]
 */
export function drag(down, move, done) {
  const target = /** @type {HTMLElement} */ (down.currentTarget);
  let moved = false;
  const onMove = (/** @type {PointerEvent} */ e) => {
    const dx = e.clientX - down.clientX;
    const dy = e.clientY - down.clientY;
    if (!moved && Math.hypot(dx, dy) < 3) return;
    moved = true;
    move(e, dx, dy);
  };
  const onUp = (/** @type {PointerEvent} */ e) => {
    window.removeEventListener("pointermove", onMove);
    window.removeEventListener("pointerup", onUp);
    window.removeEventListener("pointercancel", onUp);
    done?.(e, moved);
  };
  target.focus({ preventScroll: true });
  window.addEventListener("pointermove", onMove);
  window.addEventListener("pointerup", onUp);
  window.addEventListener("pointercancel", onUp);
}
