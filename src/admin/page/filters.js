// What is filtered stands in the address, so that a link shows the same.

import { VIEWS, WORDS } from "./describe.js";
import { h, id } from "./dom.js";

const TEXTS = [
  ["user", "User", "alice"], ["identity", "Person", "alice@laptop"], ["address", "Address or network", "192.0.2.0/24"], ["path", "Path", "/incoming/**"],
  ["text", "Any text", "report"],
];

// What an address asks for.
export function read(search) {
  const given = new URLSearchParams(search);
  const wanted = { view: "all", activity: "", status: "", since: "", until: "", session: "", fingerprint: "", target: "", account: "" };
  for (const name of ["view", "activity", "status", "since", "until", "session", "fingerprint", "target", "account", ...TEXTS.map(([name]) => name)]) {
    wanted[name] = given.get(name) ?? wanted[name] ?? "";
  }
  if (!VIEWS.some(([name]) => name === wanted.view)) wanted.view = "all";
  return wanted;
}

// The address that asks for it.
export function write(wanted) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    if (value && !(name === "view" && value === "all")) query.set(name, value);
  }
  return `/events${query.size ? `?${query}` : ""}`;
}

// What the API is asked for it. The stream has no times: it begins now.
export function toQuery(wanted, isStream = false) {
  const query = new URLSearchParams();
  const activities = VIEWS.find(([name]) => name === wanted.view)[2];
  if (wanted.activity) query.set("activity", wanted.activity);
  else if (activities.length) query.set("activity", activities.join(","));
  for (const name of ["user", "identity", "address", "path", "text", "status", "session", "fingerprint", "target", "account"]) {
    if (wanted[name]) query.set(name, wanted[name]);
  }
  if (!isStream) {
    for (const name of ["since", "until"]) if (wanted[name]) query.set(name, wanted[name]);
  }
  return query;
}

// The form; `now()` is what is wanted, `changed` is told what is wanted next, and whether the form shows it already.
export function form(now, changed) {
  const wanted = now();
  const fields = {};
  const labelled = (name, label, input) => {
    fields[name] = input;
    input.id = id(name);
    return h("div", { class: `field ${name}` }, h("label", { for: input.id, text: label }), input);
  };
  const collect = () => {
    const next = { ...now() };
    for (const [name, input] of Object.entries(fields)) {
      next[name] = input.type === "datetime-local" ? toUtc(input.value) : input.value.trim();
    }
    return next;
  };
  const apply = () => changed(collect(), true);
  const choice = (name, options) => {
    const select = h("select", { name, on: { change: apply } }, [["", "Any"], ...options].map(([value, text]) => h("option", { value, text })));
    select.value = wanted[name];
    return select;
  };
  const shown = VIEWS.find(([name]) => name === wanted.view)[2];
  const kinds = shown.length ? shown : Object.keys(WORDS);
  const element = h("form", {
    class: "filters", role: "search", "aria-label": "Filter the events",
    on: { submit: (event) => {
      event.preventDefault();
      apply();
    } },
  },
  TEXTS.map(([name, label, example]) => labelled(name, label, h("input", {
    type: "text", name, value: wanted[name], placeholder: example, autocomplete: "off", spellcheck: "false",
    on: { change: apply },
  }))),
  labelled("activity", "Type", choice("activity", kinds.map((kind) => [kind, kind]))),
  labelled("status", "Outcome", choice("status", [["success", "Succeeded"], ["denied", "Denied"], ["failure", "Failed"]])),
  ["since", "until"].map((name) => labelled(name, name === "since" ? "From" : "Before", h("input", {
    type: "datetime-local", name, value: toLocal(wanted[name]), on: { change: apply },
  }))),
  h("button", { class: "quiet", type: "button", text: "Clear", on: { click: () => changed({ ...read(""), view: now().view }, false) } }));
  return element;
}

// "2026-07-31T10:00:00" local → RFC 3339 in UTC.
function toUtc(local) {
  return local ? new Date(local).toISOString().replace(".000Z", "Z") : "";
}

function toLocal(utc) {
  const at = new Date(utc);
  if (!utc || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
