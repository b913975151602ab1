// Config: what is in force, and what of the file waits for a reload or a restart.

import { call, get } from "./api.js";
import { h, put, toast } from "./dom.js";

export function show(main, shared) {
  const said = h("div", { class: "config-said", role: "status" });
  const parts = h("div", { class: "config" });
  const again = h("button", { type: "button", text: "Check again", on: { click: () => look() } });
  const reload = shared.may("operator") && h("button", { class: "primary", type: "button", text: "Reload", on: { click: apply } });
  put(main, h("div", { class: "tools" }, h("h1", { text: "Configuration" }), h("span", { class: "space" }), again, reload),
    said, parts);
  let gone = false;
  look();
  return () => {
    gone = true;
  };

  async function look() {
    again.disabled = true;
    try {
      const found = await get("/config");
      if (gone) return;
      put(said, sentences(found));
      if (reload) reload.hidden = !found.has_file;
      put(parts, Object.entries(found.configuration).map(([name, value]) => part(name, value, found)));
    } catch (problem) {
      if (!gone) put(said, h("p", { class: "error", role: "alert", text: problem.message }));
    } finally {
      again.disabled = false;
    }
  }

  async function apply() {
    reload.disabled = true;
    try {
      await call("POST", "/reload");
      toast("The configuration was reloaded.");
      await look();
    } catch (problem) {
      toast(problem.message, "bad");
    } finally {
      reload.disabled = false;
    }
  }
}

function sentences(found) {
  const { waits_for_reload: reload, waits_for_restart: restart, secrets_changed: secrets, has_file: hasFile, problem } = found;
  const line = (kind, shape, title, text) => h("div", { class: `card verdict ${kind}` },
    h("span", { class: "shape", "aria-hidden": "true", text: shape }), h("div", {}, h("h2", { text: title }), h("p", { class: "soft", text })));
  if (!hasFile) return [line("good", "✓", "In force until the end", "This gateway reads no file again: a demo is changed by starting another one.")];
  return [
    problem && line("bad", "✕", "The file cannot be used as it is now", `What is shown below stays in force. ${problem}`),
    reload.length > 0 && line("waits", "▲", `A reload changes ${reload.join(", ")}`, "The file differs from what is in force."),
    restart.length > 0 && line("waits", "▲", `Only a restart changes ${restart.join(", ")}`, "The file differs from what is in force."),
    secrets.length > 0 && line("waits", "▲", "Secrets have changed", `${secrets.join(", ")}. Their values are not shown.`),
    !problem && !reload.length && !restart.length && line("good", "✓", "The file is in force", "Nothing waits for a reload or a restart."),
  ];
}

function part(name, value, found) {
  const waits = (list) => list.some((one) => one === name || one.startsWith(`${name}.`));
  const chip = waits(found.waits_for_restart) ? "waits for a restart" : waits(found.waits_for_reload) ? "waits for a reload" : null;
  return h("section", { class: "card", "aria-label": name },
    h("h2", {}, name, chip && h("span", { class: "chip denied", text: `▲ ${chip}` })),
    h("pre", { class: "mono wide", tabindex: "0", role: "region", "aria-label": `${name} as YAML`, text: yaml(value, "").trimStart() }));
}

// As the file could have it: for people, so a text is in quotes only where it would be read as something else.
function yaml(value, indent) {
  if (Array.isArray(value)) {
    if (!value.length) return " []";
    return value.map((one) => `\n${indent}-${yaml(one, `${indent}  `).replace(/^\n\s*/, " ")}`).join("");
  }
  if (value !== null && typeof value === "object") {
    const pairs = Object.entries(value);
    if (!pairs.length) return " {}";
    return pairs.map(([key, one]) => `\n${indent}${text(key)}:${yaml(one, `${indent}  `)}`).join("");
  }
  return ` ${typeof value === "string" ? text(value) : String(value)}`;
}

function text(value) {
  return /^[A-Za-z0-9_./$@(][^#"'\n]*$/.test(value) && !/: |:$|^(true|false|null|yes|no)$|^[0-9.]+$/.test(value) ? value : JSON.stringify(value);
}
