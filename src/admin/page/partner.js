// Partner: one user. Can this partner log in, and if not, why? And what has come from there lately?

import { eventLines, get } from "./api.js";
import { OUTCOMES, about, outcome, word } from "./describe.js";
import { h, id, partnerAddress, put } from "./dom.js";
import { ago, count, some, when } from "./format.js";

const DAYS = 7;
const FILES = 100;

// All of them that the gateway knows by itself.
export function showAll(main, shared) {
  const field = id("name");
  const input = h("input", { id: field, type: "search", autocomplete: "off", spellcheck: "false", on: { input: () => narrow() } });
  const rows = h("tbody");
  const note = h("p", { class: "soft", role: "status", text: "Loading…" });
  const go = (event) => {
    event.preventDefault();
    const address = partnerAddress(input.value.trim());
    if (input.value.trim() && address) shared.go(address);
  };
  put(main, h("h1", { text: "Partners" }),
    h("form", { class: "find", role: "search", on: { submit: go } },
      h("label", { for: field, text: "Login name" }), input, h("button", { type: "submit", class: "primary", text: "Look up" })),
    h("section", { class: "card" }, note, h("div", { class: "wide" }, h("table", { class: "partners" },
      h("thead", {}, h("tr", {}, ["User", "State", "From", "Keys", "Sessions"].map((name) => h("th", { scope: "col", text: name })))), rows))));
  let users = [];
  let total = 0;
  load();
  return undefined;

  async function load() {
    try {
      const found = await get("/users?limit=1000");
      [users, total] = [found.users, found.total];
      narrow();
    } catch (problem) {
      note.textContent = problem.message;
    }
  }

  function narrow() {
    const fit = users.filter((user) => user.name.toLowerCase().includes(input.value.trim().toLowerCase()));
    put(rows, fit.slice(0, 500).map(line));
    const more = total > users.length ? `; only the first ${count(users.length)} of ${count(total)} are searched` : "";
    note.textContent = `${some(fit.length, "user")}${more}. Users of identity providers are not listed: look them up by name.`;
  }
}

function line(user) {
  const isOver = user.expires && new Date(user.expires) <= Date.now();
  const [kind, text] = !user.enabled ? ["denied", "⊘ disabled"] : isOver ? ["denied", "⊘ expired"] : ["good", "✓ enabled"];
  return h("tr", {}, h("th", { scope: "row" }, h("a", { href: partnerAddress(user.name), text: user.name })),
    h("td", {}, h("span", { class: `chip ${kind}`, text })), h("td", { text: user.source }), h("td", { text: count(user.keys) }),
    h("td", { text: user.sessions ? count(user.sessions) : "–" }));
}

export function show(main, shared, name) {
  const body = h("div", { class: "partner" }, h("p", { class: "soft", role: "status", text: "Loading…" }));
  put(main, h("div", { class: "session-head" }, h("h1", { text: name }), h("div", { class: "links" },
    shared.may("auditor") && h("a", { class: "button", href: `/events?user=${encodeURIComponent(name)}`, text: "Events" }),
    shared.may("auditor") && h("a", { class: "button", href: `/events?view=logins&user=${encodeURIComponent(name)}`, text: "Logins" }))), body);
  let gone = false;
  load();
  return () => {
    gone = true;
  };

  async function load() {
    try {
      const user = await get(`/users/${encodeURIComponent(name)}`);
      if (gone) return;
      const files = h("section", { class: "card", hidden: !shared.may("auditor") });
      put(body, verdict(user), h("div", { class: "columns" }, h("div", {}, logins(user, shared), files), h("div", {}, keys(user), configured(user))));
      if (shared.may("auditor")) showFiles(files, name, () => gone);
    } catch (problem) {
      if (!gone) put(body, h("p", { class: "error", role: "alert", text: problem.message }));
    }
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

// The answer in one look.
function verdict(user) {
  const can = user.obstacles.length === 0;
  const last = user.last_success;
  const doubts = can && user.cautions.length > 0;
  const title = doubts ? `${user.name} can log in, but not with every key.` : can ? `${user.name} can log in.` : `${user.name} cannot log in.`;
  const lately = last ? h("p", {}, "The last login was ", when(last.time, ago(last.time)), ` from ${last.address}.`)
    : h("p", { text: user.trail ? sentence(user.trail) : "No successful login is on record." });
  const failed = user.failures[0];
  const failure = failed && h("p", {}, "The last failure was ", when(failed.time, ago(failed.time)),
    ` from ${failed.address}: `, h("strong", { text: failed.reason ?? "no reason recorded" }), ".");
  const [kind, shape] = doubts ? ["waits", "▲"] : can ? ["good", "✓"] : ["bad", "✕"];
  return h("section", { class: `card verdict ${kind}` }, h("span", { class: "shape", "aria-hidden": "true", text: shape }),
    h("div", {}, h("h2", { text: title }), h("ul", {}, [...user.obstacles, ...user.cautions].map((text) => h("li", { text: sentence(text) }))),
      lately, failure, user.sessions > 0 && h("p", { text: `${some(user.sessions, "session")} now.` })));
}

function logins(user, shared) {
  const all = [...user.failures, ...(user.last_success ? [{ ...user.last_success, isGood: true }] : [])];
  all.sort((a, b) => b.time.localeCompare(a.time));
  const attempt = (one) => h("li", { class: one.isGood ? "good" : "bad" },
    h("span", { class: "shape", "aria-hidden": "true", text: one.isGood ? "✓" : "✕" }),
    h("div", {}, h("strong", { text: one.isGood ? "Logged in" : one.reason ?? "Failed" }), " ", when(one.time),
      h("div", { class: "soft small", text: [one.address, one.method, one.client].filter(Boolean).join(" · ") }),
      one.fingerprint && h("div", { class: "soft small mono digest", text: one.fingerprint })),
    shared.may("auditor") && h("a", { href: `/sessions/${one.session}`, "aria-label": `Session at ${one.time}`, text: "Session" }));
  return h("section", { class: "card" }, h("h2", { text: "Last logins" }),
    all.length > 0 && h("ul", { class: "attempts" }, all.map(attempt)),
    (user.trail || !all.length) && h("p", { class: "soft", text: user.trail ? sentence(user.trail) : "None." }));
}

function keys(user) {
  const all = user.configured?.keys ?? [];
  return h("section", { class: "card" }, h("h2", { text: "Keys" }), all.length
    ? h("ul", { class: "keys" }, all.map((key) => h("li", {},
      h("strong", { text: key.comment ?? key.type }), " ", h("span", { class: "soft", text: key.authority ? "authority" : key.type }),
      key.revoked && h("span", { class: "chip denied", text: "⊘ revoked" }), key.expired && h("span", { class: "chip denied", text: "⊘ expired" }),
      key.certificates_revoked && !key.revoked && h("span", { class: "chip denied", text: "⊘ some certificates revoked" }), h("div", { class: "mono small digest", text: key.fingerprint }))))
    : h("p", { class: "soft", text: "No key is configured." }));
}

function configured(user) {
  const found = user.configured;
  if (!found) return null;
  const facts = [
    ["Source", found.source], ["Authentication", found.auth.replaceAll("_", " ")],
    ["Second factor", found.second_factor === "totp" ? "one-time code (TOTP)" : "none"], ["Enabled", found.enabled ? "yes" : "no"],
    ["Expires", found.expires ? when(found.expires) : "never"],
    ["Allowed from", found.allow_from.length ? found.allow_from.join(", ") : "any address"],
    ["Session limit", found.most_sessions ? count(found.most_sessions) : "none for this user"],
  ];
  return h("section", { class: "card" }, h("h2", { text: "Configured" }),
    h("dl", {}, facts.map(([name, value]) => [h("dt", { text: name }), h("dd", {}, value)])),
    h("h3", { text: "Home" }), h("ul", { class: "homes" }, found.home.map((entry) => h("li", {},
      h("span", { class: "mono", text: entry.entry }), h("span", { class: "soft", text: " → " }), h("span", { class: "mono", text: entry.target })))),
    found.targets.length > 0 && [h("h3", { text: "Jumps as" }), h("ul", { class: "homes" }, found.targets.map((grant) => h("li", { text: grant })))]);
}

// One call searches for a few seconds. Only after the last one is it known that there are no more files.
async function findFiles(name, isGone) {
  const since = new Date(Date.now() - DAYS * 86400000).toISOString();
  const query = new URLSearchParams({ user: name, activity: "CLOSE,PARTIAL_CLOSE", since, format: "ndjson" });
  const events = [];
  let next = null;
  do {
    query.set("limit", String(FILES - events.length));
    if (next) query.set("before", next);
    const found = await eventLines(query);
    events.push(...found.lines.map((text) => JSON.parse(text)));
    next = found.next;
  } while (next && events.length < FILES && !isGone());
  return { events, hasMore: next !== null };
}

async function showFiles(section, name, isGone) {
  const title = h("h2", { text: `Files of the last ${DAYS} days` });
  put(section, title, h("p", { class: "soft", role: "status", text: "Searching the trail…" }));
  try {
    const { events, hasMore } = await findFiles(name, isGone);
    put(section, title, silence(events, hasMore), fileList(events), hasMore && h("p", { class: "soft", text: `These are the newest ${FILES}.` }));
  } catch (problem) {
    put(section, title, h("p", { class: "error", role: "alert", text: problem.message }));
  }
}

function silence(events, hasMore) {
  const last = events.find((event) => event["activity-type"] === "CLOSE");
  if (last) return h("p", { class: "soft" }, "The last file was ", when(last.timestamp, ago(last.timestamp)), ".");
  return h("p", { class: "soft", text: hasMore ? `Each of the newest ${FILES} was cut off.` : `No file in the last ${DAYS} days.` });
}

function fileList(events) {
  return h("ul", { class: "file-list" }, events.map((event) => h("li", { class: outcome(event) },
    h("div", {}, h("span", { class: "shape", "aria-hidden": "true", text: OUTCOMES[outcome(event)][0] }),
      h("span", { class: "path", text: `${word(event)} ` }), h("span", { class: "mono", text: about(event) })),
    h("div", { class: "soft small" }, when(event.timestamp), " · ", h("a", { href: `/sessions/${event["session-id"]}`, text: "session" })))));
}
