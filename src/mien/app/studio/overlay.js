// @ts-check
/** What lies over the page: dialogs, menus and short messages. */
import { Failure } from "./api.js";
import { button, h, icon } from "./dom.js";

/**
 * A dialog; resolves with what `close` was given, or null.
 * @param {string} title
 * @param {(close: (value: any) => void) => {body: Node[], foot?: Node[]}} build
 * @param {{width?: string, onClose?: () => void}} [options]
 * @returns {Promise<any>}
 */
export function dialog(title, build, options = {}) {
  return new Promise((resolve) => {
    let answer = /** @type {any} */ (null);
    const box = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-label": title }));
    const close = (/** @type {any} */ value) => {
      answer = value;
      box.close();
    };
    const { body, foot } = build(close);
    box.append(
      h("div", { class: "dialog-head" }, h("h2", { text: title }), button({ icon: "close", label: "Close", run: () => close(null) })),
      h("div", { class: "dialog-body" }, ...body),
    );
    if (foot) box.append(h("div", { class: "dialog-foot" }, ...foot));
    if (options.width) box.style.width = options.width;
    box.addEventListener("close", () => {
      messages(); // those in it stay
      box.remove();
      options.onClose?.();
      resolve(answer);
    });
    box.addEventListener("click", (e) => {
      const r = box.getBoundingClientRect();
      const outside = e.clientX < r.left || e.clientX > r.right || e.clientY < r.top || e.clientY > r.bottom;
      if (e.target === box && outside) close(null);
    });
    document.body.append(box);
    box.showModal();
    messages();
  });
}

/**
 * Ask a question with one way to go on.
 * @param {string} title
 * @param {string} text
 * @param {string} yes
 * @param {boolean} [bad]  Whether something is lost.
 * @returns {Promise<boolean>}
 */
export async function confirm(title, text, yes, bad = false) {
  const answer = await dialog(title, (close) => ({
    body: [h("p", { text })],
    foot: [
      button({ text: "Cancel", label: "Cancel", run: () => close(false) }),
      button({ text: yes, label: yes, class: bad ? "main" : "main", run: () => close(true) }),
    ],
  }), { width: "400px" });
  return Boolean(answer);
}

/**
 * Ask for a line of text.
 * @param {string} title
 * @param {string} label
 * @param {string} value
 * @param {(text: string) => Promise<void>} [take]  Does what it is for; what it throws is said beside the field.
 * @returns {Promise<string | null>}
 */
export function ask(title, label, value, take = async () => {}) {
  return dialog(title, (close) => {
    const problem = h("p", { class: "bad small", role: "alert", id: "asked-problem" });
    const field = h("input", { type: "text", value, "aria-label": label, "aria-describedby": problem.id, on: { input: () => say("") } });
    const say = (/** @type {string} */ text) => {
      problem.textContent = text;
      field.setAttribute("aria-invalid", String(Boolean(text)));
    };
    const done = async () => {
      const text = field.value.trim();
      if (!text) return say(`${label}: is empty.`);
      try {
        await take(text);
        close(text);
      } catch (error) {
        say(told(error));
        field.focus();
      }
    };
    const form = h("form", { class: "column", on: { submit: (/** @type {Event} */ e) => {
      e.preventDefault();
      void done();
    } } }, h("label", { text: label }), field, problem);
    setTimeout(() => field.select());
    return {
      body: [form],
      foot: [
        button({ text: "Cancel", label: "Cancel", run: () => close(null) }),
        button({ text: "OK", label: "OK", class: "main", run: done }),
      ],
    };
  }, { width: "360px" });
}

/** An error in one or two sentences. @param {unknown} error */
function told(error) {
  if (!(error instanceof Failure)) return String(error instanceof Error ? error.message : error);
  const { subject, problem, advice } = error.told;
  const text = `${subject}: ${problem.replace(/\.$/, "")}. ${advice}`.trim();
  return text[0].toUpperCase() + text.slice(1);
}

/**
 * A menu at a button or at the pointer.
 * @param {HTMLElement | MouseEvent} at
 * @param {({text: string, icon?: string, run: () => void, disabled?: boolean} | null | false)[]} items  null: a line.
 */
export function menu(at, items) {
  document.querySelector(".menu")?.remove();
  const owner = at instanceof HTMLElement ? at : /** @type {HTMLElement} */ (at.target);
  const box = h("div", { class: "menu", role: "menu" });
  const close = () => {
    box.remove();
    document.removeEventListener("pointerdown", away, true);
    if (document.activeElement === document.body) owner.focus?.();
  };
  const away = (/** @type {Event} */ e) => !box.contains(/** @type {Node} */ (e.target)) && close();
  for (const item of items) {
    if (item === false) continue;
    if (item === null) {
      box.append(h("hr"));
      continue;
    }
    box.append(h("button", { type: "button", role: "menuitem", disabled: item.disabled ?? false, on: { click: () => {
      close();
      item.run();
    } } }, item.icon && icon(item.icon), h("span", { class: "clip", text: item.text })));
  }
  box.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    const all = /** @type {HTMLElement[]} */ ([...box.querySelectorAll("button:not(:disabled)")]);
    const now = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (e.key === "ArrowDown") all[(now + 1) % all.length]?.focus();
    else if (e.key === "ArrowUp") all[(now - 1 + all.length) % all.length]?.focus();
    else if (e.key === "Escape" || e.key === "Tab") {
      close();
      owner.focus?.();
    } else return;
    e.preventDefault();
    e.stopPropagation();
  });
  const host = owner.closest?.("dialog") ?? document.body;
  host.append(box);
  const r = at instanceof HTMLElement ? at.getBoundingClientRect() : null;
  const x = r ? r.left : /** @type {MouseEvent} */ (at).clientX;
  const y = r ? r.bottom + 4 : /** @type {MouseEvent} */ (at).clientY;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`;
  box.style.top = `${y + height > innerHeight - 8 ? Math.max(8, (r ? r.top - 4 : y) - height) : y}px`;
  /** @type {HTMLElement | null} */ (box.querySelector("button:not(:disabled)"))?.focus();
  document.addEventListener("pointerdown", away, true);
}

/** Most messages at a time. */
const MOST = 3;
/** Milliseconds that a message is seen: at least, and for each of its characters. */
const SEEN = 5000;
const READ = 70;

/**
 * Say something for as long as it takes to read it; errors stay until they are closed.
 * @param {string} text
 * @param {{bad?: boolean, advice?: string, action?: {text: string, run: () => void}}} [options]
 * @returns {() => void} Takes it away.
 */
export function toast(text, options = {}) {
  const region = messages();
  const said = () => /** @type {HTMLElement[]} */ ([...region.children]).filter((node) => node.dataset.text !== undefined);
  said().find((node) => node.dataset.text === text)?.remove();
  const close = () => node.remove();
  const node = h(
    "div",
    { class: `toast ${options.bad ? "bad" : ""}`, role: options.bad ? "alert" : undefined, data: { text } },
    options.bad && h("span", { class: "bad" }, icon("warn")),
    h("div", { class: "grow words" }, h("p", { text }), options.advice && h("p", { class: "muted", text: options.advice })),
    options.action && button({ text: options.action.text, label: options.action.text, class: "small", run: () => {
      close();
      options.action?.run();
    } }),
    button({ icon: "close", label: "Dismiss", class: "small", run: close }),
  );
  region.append(node);
  node.scrollIntoView({ block: "nearest" });
  const all = said();
  if (all.length > MOST) (all.find((one) => !one.classList.contains("bad")) ?? all[0]).remove(); // rather than an error nobody has read
  if (!options.bad) fade(node, Math.max(SEEN, READ * (text.length + (options.advice?.length ?? 0))));
  return close;
}

/** Take a message away after a while, but not from under the pointer or the focus. @param {HTMLElement} node @param {number} after */
function fade(node, after) {
  setTimeout(() => (node.matches(":hover, :focus-within") ? fade(node, SEEN) : node.remove()), after);
}

/** Where messages stand: a dialog makes everything outside of it out of reach, so within the one that is open. */
export function messages() {
  const region = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  const host = [...document.querySelectorAll("dialog[open]")].pop() ?? /** @type {HTMLElement} */ (document.getElementById("right"));
  if (region.parentElement !== host) host.append(region);
  return region;
}

/** Say what went wrong. @param {unknown} error */
export function complain(error) {
  if (error instanceof Failure) {
    toast(`${error.message.replace(/\.$/, "")}.`, { bad: true, advice: error.told.advice });
  } else if (!(error instanceof DOMException && error.name === "AbortError")) {
    toast(String(error instanceof Error ? error.message : error), { bad: true });
    console.error(error);
  }
}

/** Run something; say what went wrong if it does. @param {() => Promise<any> | any} work */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}
