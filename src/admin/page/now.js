// Now: what fails, what moves, who is here.

import { call, get } from "./api.js";
import { h, id, keyed, partnerAddress, put, toast, write } from "./dom.js";
import { ago, bytes, count, duration, local, some, speed, when } from "./format.js";
import { spark } from "./spark.js";

export function show(main, shared) {
  const troubles = h("div", { class: "troubles" });
  const figures = ["Sessions", "Receiving", "Sending", "Logins"].map((name) => figure(name));
  const rows = h("div", { class: "sessions", role: "list" });
  const nobody = h("p", { class: "empty", text: "Nobody is connected." });
  const more = h("p", { class: "soft" });
  const parts = h("div", { class: "parts" });
  const banned = h("section", { class: "card", hidden: true });
  put(main,
    h("h1", { class: "hidden-name", text: "Now" }), troubles,
    h("div", { class: "figures" }, figures.map((one) => one.element)),
    h("div", { class: "now" },
      h("section", { class: "card grows", "aria-labelledby": "live" },
        h("h2", { id: "live", text: "Sessions" }), nobody, rows, more),
      h("div", { class: "aside" },
        h("section", { class: "card" }, h("h2", { text: "Stores and sinks" }), parts), banned)));
  let bans = 0;
  return shared.watch((moment) => {
    showTroubles(troubles, moment);
    showFigures(figures, moment, shared.history);
    nobody.hidden = moment.sessions.length > 0;
    keyed(rows, moment.sessions, (one) => one.id, () => sessionRow(shared), updateSession);
    const hidden = moment.sessions_total - moment.sessions.length;
    write(more, hidden > 0 ? `${some(hidden, "more session")} with less traffic.` : "");
    keyed(parts, partsOf(moment), (part) => part.key, partRow, updatePart);
    if (moment.bans !== bans) {
      bans = moment.bans;
      showBans(banned, bans, shared);
    }
  });
}

function partsOf({ stores, status }) {
  return [
    ...stores.stores.map((one) => ({ ...one, kind: "store", key: `store ${one.name}`, fails: one.answers === false })),
    ...status.sinks.map((one) => ({ ...one, kind: "sink", key: `sink ${one.name}`, fails: one.failure !== undefined })),
  ];
}

// What fails stands on top: nobody has to look for it.
function showTroubles(place, moment) {
  const failing = partsOf(moment).filter((part) => part.fails).map((part) => ({
    key: part.key,
    title: `The ${part.kind} ${part.name} fails`,
    text: sentence(part.failure, part.name),
    failure: part.failure,
    since: part.since,
    consequence: part.kind === "sink" && part.required ? "Operations are refused until it writes again." : "",
  }));
  const named = failing.map((one) => one.failure);
  const others = moment.status.readiness.reasons
    .filter((reason) => !named.some((text) => text && reason.includes(text)))
    .map((reason) => ({ key: reason, title: `${reason[0].toUpperCase()}${reason.slice(1)}.` }));
  keyed(place, [...failing, ...others], (one) => one.key,
    () => h("div", { class: "trouble", role: "alert" }, h("span", { class: "shape", "aria-hidden": "true", text: "▲" }),
      h("div", {}, h("strong"), h("p"))),
    (element, one) => {
      write(element.querySelector("strong"), one.title);
      const text = [one.text, one.since && `Since ${local(one.since)}.`, one.consequence].filter(Boolean).join(" ");
      write(element.querySelector("p"), text);
    });
}

// What failed, without the name that stands above it.
function sentence(text, name) {
  let rest = text ?? "";
  while (rest.startsWith(`${name}: `)) rest = rest.slice(name.length + 2);
  return rest && `${rest[0].toUpperCase()}${rest.slice(1)}${rest.endsWith(".") ? "" : "."}`;
}

function figure(name) {
  const drawn = spark();
  const value = h("span", { class: "value", text: "–" });
  const note = h("span", { class: "soft small" });
  const element = h("div", { class: "card figure", role: "group", "aria-label": name },
    h("span", { class: "name", text: name }), value, note, drawn.element);
  return { element, value, note, draw: drawn.draw };
}

function showFigures([sessions, receiving, sending, logins], moment, history) {
  const files = moment.sessions.reduce((sum, one) => sum + one.open_files.length, 0);
  write(sessions.value, count(moment.sessions_total));
  write(sessions.note, files ? `${some(files, "file")} open` : "no open files");
  write(receiving.value, speed(moment.speed_in));
  write(receiving.note, "from clients");
  receiving.draw(history.map((one) => one.in));
  write(sending.value, speed(moment.speed_out));
  write(sending.note, "to clients");
  sending.draw(history.map((one) => one.out));
  write(logins.value, count(moment.logins));
  write(logins.note, `since start, ${ago(moment.status.since)}`);
  logins.draw(history.map((one) => one.logins));
  sessions.element.classList.add("flat");
}

function sessionRow(shared) {
  const row = h("div", { class: "session", role: "listitem" },
    h("div", { class: "whose" }, h("a", { class: "user" }), h("span", { class: "soft from" })),
    h("div", { class: "much" }, h("span", { class: "in" }), h("span", { class: "out" }), h("span", { class: "soft since" })),
    h("div", { class: "does" }, h("span", { class: "soft idle" }), h("div", { class: "files" })),
    h("div", { class: "acts" }, shared.may("auditor") && h("a", { class: "button", text: "Open" }),
      shared.may("operator") && h("button", { class: "danger", type: "button", text: "End…" })));
  row.querySelector("button")?.addEventListener("click", () => endSession(row.session));
  return row;
}

function updateSession(row, one) {
  row.session = one;
  const part = (name) => row.querySelector(name);
  const user = part(".user");
  write(user, one.user);
  const address = partnerAddress(one.user);
  if (address) user.setAttribute("href", address);
  write(part(".from"), [one.gateway && `at ${one.gateway}`, one.address, one.target && `${one.account ?? "?"}@${one.target}`, one.identity ?? one.method, one.protocols.join(", ")].filter(Boolean).join(" · "));
  write(part(".in"), `↓ ${bytes(one.bytes_in)}`);
  write(part(".out"), `↑ ${bytes(one.bytes_out)}`);
  part(".in").title = `${some(one.files_in, "file")} received`;
  part(".out").title = `${some(one.files_out, "file")} sent`;
  write(part(".since"), ago(one.since));
  part(".since").title = `Since ${one.since.replace("T", " ").replace("Z", "")} UTC`;
  const open = part(".acts a");
  open?.setAttribute("href", `/sessions/${one.id}`);
  open?.setAttribute("aria-label", `Open the session of ${one.user}`);
  const end = part(".danger");
  end?.setAttribute("aria-label", `End the session of ${one.user}…`);
  if (end) end.disabled = one.ending !== undefined;
  const words = one.ending ? `▲ ending: ${one.ending.message || one.ending.reason}`
    : one.open_files.length ? "" : one.under_way ? "working" : `idle for ${duration(one.idle_seconds * 1000)}`;
  write(part(".idle"), words);
  part(".idle").hidden = words === "";
  keyed(part(".files"), one.open_files, (file) => `${file.operation} ${file.path} ${file.since}`, fileRow, updateFile);
}

export function fileRow() {
  return h("div", { class: "file" },
    h("span", { class: "arrow" }), h("span", { class: "path mono" }), h("span", { class: "speed" }),
    h("progress", { max: "1" }));
}

export function updateFile(row, file) {
  const isUpload = file.operation === "write";
  write(row.querySelector(".arrow"), isUpload ? "↓ receives" : "↑ sends");
  write(row.querySelector(".path"), file.path);
  row.querySelector(".path").title = file.path;
  const done = file.size ? `${bytes(file.bytes)} of ${bytes(file.size)}` : bytes(file.bytes);
  write(row.querySelector(".speed"), `${done} · ${speed(file.speed)}`);
  const bar = row.querySelector("progress");
  bar.setAttribute("aria-label", `${isUpload ? "Receives" : "Sends"} ${file.path}`);
  // How long an upload will be nobody knows before it ends.
  if (file.size) bar.value = file.bytes / file.size;
  else bar.removeAttribute("value");
}

function partRow() {
  return h("div", { class: "part" }, h("span", { class: "chip" }), h("span", { class: "what" }), h("span", { class: "soft kind" }));
}

function updatePart(row, part) {
  const chip = row.querySelector(".chip");
  const [kind, text] = part.fails ? ["bad", "✕ fails"] : part.answers === undefined && part.kind === "store"
    ? ["plain", "…"] : ["good", part.kind === "store" ? "✓ answers" : "✓ writes"];
  chip.className = `chip ${kind}`;
  write(chip, text);
  write(row.querySelector(".what"), part.name);
  row.querySelector(".what").title = part.name;
  write(row.querySelector(".kind"), part.kind === "sink" && !part.required ? "sink, optional" : part.kind);
}

async function showBans(section, number, shared) {
  section.hidden = number === 0;
  if (number === 0) return;
  const found = await get("/bans?limit=100").catch(() => null);
  if (!found) return;
  put(section, h("h2", { text: "Banned addresses" }), h("ul", { class: "bans" }, found.bans.map((ban) => h("li", {},
    h("span", { class: "mono", text: ban.address }), h("span", { class: "soft" }, "until ", when(ban.until)),
    shared.may("operator") && h("button", {
      type: "button", text: "Lift", "aria-label": `Lift the ban of ${ban.address}`, on: { click: () => lift(ban.address) },
    })))));
}

async function lift(address) {
  try {
    await call("DELETE", `/bans/${encodeURIComponent(address)}`);
    toast(`The ban of ${address} is lifted.`);
  } catch (problem) {
    toast(problem.message, "bad");
  }
}

// Asks for the reason, then ends the session.
export function endSession(session) {
  const [title, field] = [id("title"), id("reason")];
  const error = h("p", { class: "error", role: "alert" });
  const input = h("input", { id: field, required: true, maxlength: "400", autocomplete: "off" });
  const submit = async (event) => {
    event.preventDefault();
    try {
      await call("DELETE", `/sessions/${encodeURIComponent(session.id)}`, { reason: input.value.trim() });
      toast(`The session of ${session.user} ends.`);
      dialog.close();
    } catch (problem) {
      write(error, problem.message);
    }
  };
  const cancel = h("button", { type: "button", text: "Cancel", on: { click: () => dialog.close() } });
  const dialog = h("dialog", { "aria-labelledby": title, on: { close: () => dialog.remove() } },
    h("form", { on: { submit } },
      h("h2", { id: title, text: `End the session of ${session.user}?` }),
      h("p", { class: "soft", text: "The client receives the reason. Open files are cut off. All of this is recorded." }),
      h("label", { for: field, text: "Reason" }), input, error,
      h("div", { class: "buttons" }, cancel, h("button", { class: "danger solid", type: "submit", text: "End the session" }))));
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}
