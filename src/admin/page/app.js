// The frame around the views: who is logged in, which view the address means, and the state of the gateway, which all share.

import { call, follow, get } from "./api.js";
import { h, put, toast, write } from "./dom.js";
import { showLogin } from "./login.js";
import * as config from "./config.js";
import * as events from "./events.js";
import * as now from "./now.js";
import * as partner from "./partner.js";
import * as session from "./session.js";
import * as trail from "./trail.js";

const RANK = { viewer: 0, auditor: 1, operator: 2 };
const HISTORY = 120;

const main = document.getElementById("main");
const bar = document.getElementById("bar");

const views = [
  { at: /^\/$/, tab: "Now", view: now.show },
  { at: /^\/events$/, tab: "Events", view: events.show, role: "auditor" },
  { at: /^\/sessions\/([^/]+)$/, tab: "Events", view: session.show, role: "viewer" },
  { at: /^\/partners$/, tab: "Partners", view: partner.showAll },
  { at: /^\/partners\/([^/]+)$/, tab: "Partners", view: partner.show },
  { at: /^\/trail$/, tab: "Trail", view: trail.show, role: "auditor" },
  { at: /^\/config$/, tab: "Config", view: config.show },
];
const tabs = [["Now", "/"], ["Events", "/events"], ["Partners", "/partners"], ["Trail", "/trail"], ["Config", "/config"]];

// What the views share: who is logged in, the newest state of the gateway, and what was before.
const shared = {
  me: null,
  moment: null,
  link: "lost",
  history: [],
  listeners: new Set(),
  may: (role) => shared.me !== null && RANK[shared.me.role] >= RANK[role],
  // Tells `act` of each moment from now on; the answer ends that.
  watch(act) {
    shared.listeners.add(act);
    if (shared.moment) act(shared.moment);
    return () => shared.listeners.delete(act);
  },
  go: (address) => {
    history.pushState(null, "", address);
    render();
  },
};

let leave = () => {};
let watching = null;
let shownAt = null;

start();

async function start() {
  window.addEventListener("popstate", () => render());
  window.addEventListener("logged-out", loggedOut);
  document.addEventListener("click", byLink);
  if (location.hash.includes("code=") || location.pathname === "/login/callback") {
    render();
    return;
  }
  try {
    entered(await get("/me"));
  } catch (problem) {
    if (problem.status !== 401) put(main, h("p", { class: "alone", role: "alert", text: problem.message }));
  }
}

function entered(me) {
  shared.me = me;
  if (location.pathname === "/login") history.replaceState(null, "", "/");
  frame();
  watching?.close();
  watching = follow(() => "/status/stream", { now: heard }, (state) => {
    shared.link = state;
    readiness();
  });
  render();
}

function loggedOut() {
  // Somebody may be writing there already.
  if (!shared.me && main.querySelector(".login")) return;
  watching?.close();
  watching = null;
  Object.assign(shared, { me: null, moment: null, history: [] });
  render();
}

function heard(data) {
  const before = shared.moment;
  const moment = JSON.parse(data);
  shared.moment = moment;
  shared.history.push({
    in: moment.speed_in, out: moment.speed_out, logins: before ? Math.max(0, moment.logins - before.logins) : 0,
  });
  shared.history.splice(0, shared.history.length - HISTORY);
  readiness();
  for (const act of shared.listeners) act(moment);
}

// Links within the page change the view alone.
function byLink(event) {
  const link = event.target.closest("a[href]");
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.hasAttribute("download") || link.target) return;
  const address = new URL(link.href);
  if (address.origin !== location.origin || address.pathname.startsWith("/api/") || link.classList.contains("skip")) return;
  event.preventDefault();
  shared.go(address.pathname + address.search);
}

function render() {
  leave();
  leave = () => {};
  if (!shared.me) {
    bar.hidden = true;
    shownAt = null;
    showLogin(main, entered);
    return;
  }
  const found = views.map((one) => ({ ...one, match: one.at.exec(location.pathname) })).find((one) => one.match);
  for (const link of bar.querySelectorAll("nav a")) {
    if (link.textContent === found?.tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const words = (found?.match.slice(1) ?? []).map(decoded);
  if (!found) put(main, h("div", { class: "alone" }, h("h1", { text: "Page not found" }), h("a", { href: "/", text: "Now" })));
  else if (found.role && !shared.may(found.role)) refuse(found);
  else leave = found.view(main, shared, ...words) ?? leave;
  const heading = main.querySelector("h1");
  document.title = `${heading?.textContent ?? "Lockgate"} · Lockgate`;
  // Who moved to another view by keyboard or with a screen reader is at its beginning.
  if (shownAt !== null && shownAt !== location.pathname && heading) {
    heading.tabIndex = -1;
    heading.focus();
    scrollTo(0, 0);
  }
  shownAt = location.pathname;
}

// A name in an address; one with a stray % stays as it is.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function refuse(found) {
  put(main, h("div", { class: "alone" },
    h("h1", { text: found.tab }),
    h("p", { text: `This view is for the role ${found.role}; you are ${shared.me.role}.` })));
}

function frame() {
  put(bar,
    h("a", { class: "brand", href: "/" }, h("img", { src: "/page/icon.svg", alt: "", width: "24", height: "24" }),
      h("span", { class: "server", text: "Lockgate" })),
    h("nav", { "aria-label": "Views" }, tabs.map(([name, address]) => h("a", { href: address, text: name }))),
    h("a", { class: "chip ready", href: "/", text: "…" }),
    h("span", { class: "me" }, h("span", { class: "name", text: shared.me.name }),
      h("span", { class: "soft", text: shared.me.role })),
    h("button", { class: "quiet", type: "button", text: "Log out", on: { click: logOut } }));
  bar.hidden = false;
}

async function logOut() {
  try {
    await call("POST", "/logout");
  } catch (problem) {
    toast(problem.message, "bad");
    return;
  }
  history.pushState(null, "", "/login");
  loggedOut();
}

// Whether the gateway is ready, in every view.
function readiness() {
  const chip = bar.querySelector(".ready");
  if (!chip) return;
  const { moment, link } = shared;
  if (moment) write(bar.querySelector(".server"), moment.status.server);
  const [kind, text] = link === "lost" && moment ? ["bad", "✕ No answer"]
    : !moment ? ["plain", "…"]
    : moment.status.draining ? ["denied", "▲ Draining"]
    : moment.status.readiness.ready ? ["good", "● Ready"] : ["bad", "✕ Not ready"];
  chip.className = `chip ready ${kind}`;
  write(chip, text);
}
