// Elements without markup in strings: every text that comes from outside stays text.

const SVG = "http://www.w3.org/2000/svg";

// An element. `props`: `class`, `text`, `on` (listeners), `style` (custom and other properties), attributes; `true` writes an empty
// attribute, `false`, `null` and `undefined` none.
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

// The same for drawings.
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [kind, act] of Object.entries(value)) element.addEventListener(kind, act);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// Puts children in place of those that are there.
export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// Writes a text only where it differs, so that a selection and a screen reader are left alone.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Keeps one child for each item: those that stay keep focus and selection. `make` gives an element, `update` shows an item in it.
export function keyed(parent, items, key, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    known.delete(name);
    const wanted = before ? before.nextSibling : parent.firstChild;
    if (wanted !== child) parent.insertBefore(child, wanted);
    update(child, item);
    before = child;
  }
  for (const child of known.values()) child.remove();
}

// A sentence for everybody, screen readers too, that goes by itself.
export function toast(text, kind = "good") {
  const shown = h("div", { class: `toast ${kind}`, text });
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 8000);
}

// Where a user is shown; `null` for names that no address can have: browsers take `.` and `..` for folders.
export function partnerAddress(name) {
  return name === "." || name === ".." ? null : `/partners/${encodeURIComponent(name)}`;
}

let ids = 0;
// A name for an element that others point to.
export function id(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
