// Events: the newest first, filtered, live.

import { eventLines, follow } from "./api.js";
import { OUTCOMES, VIEWS, about, outcome, who, word } from "./describe.js";
import { h, partnerAddress, put, write } from "./dom.js";
import { exportEvents } from "./export.js";
import * as filters from "./filters.js";
import { clock, count, day, local, some, utc } from "./format.js";
import { WindowedList } from "./list.js";

// The most that a page keeps: its memory is bounded.
const MOST = 200000;

// Events that wait while somebody reads.
const MOST_WAITING = 20000;
// Pages grow while somebody scrolls on.
const PAGES = [200, 1000, 5000, 10000];

export function show(main, shared) {
  let wanted = filters.read(location.search);
  const state = { items: [], next: null, loads: false, page: 0, waiting: [], stream: null, live: true, turn: 0 };
  const status = h("span", { class: "soft", role: "status" });
  const fresh = h("button", { class: "fresh", type: "button", hidden: true, on: { click: () => takeIn() } });
  const live = h("button", { type: "button", class: "toggle", "aria-pressed": "true", text: "Live", on: { click: () => setLive(!state.live) } });
  const details = h("aside", { class: "details card", hidden: true, "aria-label": "The event" });
  const tabs = h("nav", { class: "segments", "aria-label": "Kinds of events", on: { click: (event) => {
    const tab = event.target.closest("a");
    if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    apply({ ...wanted, view: tab.dataset.view, activity: "" }, false);
  } } }, VIEWS.map(([name, title]) => h("a", { "data-view": name, text: title })));
  const summary = h("summary");
  const fields = h("details", { class: "card filter-box" });
  const trouble = h("p", { class: "error", role: "alert" });
  const company = h("p", { class: "soft", role: "status", hidden: true });
  const list = new WindowedList({
    label: "Events, newest first", columns: ["Time", "What", "Who", "From", "About"], className: "events", height: [34, 60],
    cells, chosen: open, nearEnd: () => older(), mark: (item) => outcome(parsed(item)),
  });
  list.element.addEventListener("scroll", () => list.isAtTop && reads() === false && takeIn(), { passive: true });
  put(main, h("h1", { class: "hidden-name", text: "Events" }), tabs, fields,
    h("div", { class: "tools" }, live, status, h("span", { class: "space" }),
      h("span", { class: "soft label", text: "Export" }),
      ["ndjson", "csv"].map((format) => h("button", {
        type: "button", text: format.toUpperCase(), "aria-label": `Export as ${format.toUpperCase()}`, on: { click: () => save(format) },
      }))),
    trouble, company, fresh, h("div", { class: "beside" }, list.element, details));
  if (matchMedia("(min-width: 721px)").matches) fields.open = true;
  begin();
  return () => {
    state.turn += 1;
    state.stream?.close();
    list.close();
  };

  // Other filters: the address says so, and everything comes anew. The form stays, for somebody is at work in it.
  function apply(next, keepsForm) {
    const address = filters.write(next);
    // Enter in a field is two changes of the same.
    if (address === location.pathname + location.search && keepsForm) return;
    wanted = next;
    history.pushState(null, "", address);
    begin(keepsForm);
  }

  async function begin(keepsForm = false) {
    state.turn += 1;
    const turn = state.turn;
    state.stream?.close();
    Object.assign(state, { items: [], next: null, loads: true, page: 0, waiting: [], last: null });
    const filled = Object.entries(wanted).filter(([name, value]) => name !== "view" && value);
    write(summary, filled.length ? `Filters: ${filled.map(([name, value]) => `${name} ${value}`).join(", ")}` : "Filters");
    for (const tab of tabs.children) {
      tab.setAttribute("href", filters.write({ ...wanted, view: tab.dataset.view, activity: "" }));
      if (tab.dataset.view === wanted.view) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    }
    if (!keepsForm) put(fields, summary, filters.form(() => wanted, apply));
    fresh.hidden = true;
    details.hidden = true;
    company.hidden = true;
    write(trouble, "");
    write(status, "Loading…");
    list.show([]);
    list.toTop();
    // The stream first: nothing falls between it and the page, and what both have is shown once.
    if (state.live && !wanted.until) await new Promise((begun) => listen(begun));
    if (turn !== state.turn) return;
    state.loads = false;
    older();
  }

  async function older() {
    if (state.loads || (state.page > 0 && !state.next) || state.items.length >= MOST) return;
    const turn = state.turn;
    state.loads = true;
    write(status, state.items.length ? `${some(state.items.length, "event")}, more…` : "Loading…");
    const query = filters.toQuery(wanted);
    query.set("format", "ndjson");
    query.set("limit", String(PAGES[Math.min(state.page, PAGES.length - 1)]));
    if (state.next) query.set("before", state.next);
    try {
      const { lines, next } = await eventLines(query);
      if (turn !== state.turn) return;
      state.items = state.items.concat(lines.map((line) => ({ line })));
      if (state.page === 0) state.last = newer(state.last, state.items[0] && parsed(state.items[0])["event-id"]);
      state.page += 1;
      state.next = next;
      state.loads = false;
      shown();
      if (!reads()) takeIn();
      // A page may be empty although there is more: a call looks for a while only.
      if (!lines.length && next) older();
    } catch (problem) {
      if (turn !== state.turn) return;
      state.loads = false;
      write(status, "");
      write(trouble, problem.message);
    }
  }

  function shown() {
    list.show(state.items, !state.next);
    const most = state.items.length >= MOST ? "; narrow the filters for older ones" : "";
    const number = count(state.items.length);
    write(status, state.items.length === 0 ? "No event fits." : state.next ? `The newest ${number}${most}` : `All ${number}`);
  }

  // `heard` is called when it has begun, or failed to.
  function listen(heard = () => {}) {
    state.stream?.close();
    const query = filters.toQuery(wanted, true);
    query.set("gateways", "all");
    const turn = state.turn;
    let isAgain = false;
    state.stream = follow((last) => {
      const after = newer(last, state.last);
      if (after) query.set("after", after);
      // There is nothing to go on after: what came meanwhile is read anew.
      else if (isAgain) setTimeout(() => turn === state.turn && begin(true));
      isAgain = true;
      return `/events/stream?${query}`;
    }, {
      message: (line) => arrived({ line }),
      elsewhere: (line) => arrived({ line }),
      fleet: (data) => inFleet(JSON.parse(data)),
      gap: (data) => {
        const { detail } = JSON.parse(data);
        write(trouble, `${detail[0].toUpperCase()}${detail.slice(1)}.`);
      },
      failed: (why) => {
        setLive(false);
        write(trouble, `The trail cannot be read, so live events have stopped: ${why}. Press “Live” to try again.`);
      },
    }, heard);
  }

  // Which other gateways' events come live; what they recorded before is in their own trails.
  function inFleet({ gateways, incomplete }) {
    company.hidden = !incomplete && !gateways.length;
    write(company, incomplete ? `Events of other gateways may be missing: ${incomplete}`
      : `With the live events of ${gateways.join(", ")}; the older ones are shown there.`);
  }

  // Somebody reads: not at the top, or a row is open.
  function reads() {
    return !list.isAtTop || !details.hidden;
  }

  function arrived(item) {
    state.waiting.unshift(item);
    // Whoever reads for long misses the oldest of what came meanwhile, and not the page.
    if (state.waiting.length > MOST_WAITING) state.waiting.length = MOST_WAITING;
    // The stream goes on by the place in this gateway's trail.
    if (!parsed(item).gateway) state.last = newer(state.last, parsed(item)["event-id"]);
    if (state.page === 0) return;
    if (!reads()) takeIn();
    else {
      fresh.hidden = false;
      write(fresh, `↑ ${some(state.waiting.length, "new event")}`);
    }
  }

  function takeIn() {
    fresh.hidden = true;
    if (!state.waiting.length) return;
    const known = new Set(state.items.slice(0, 1000).map((item) => parsed(item)["event-id"]));
    const fresher = state.waiting.filter((item) => !known.has(parsed(item)["event-id"]));
    state.waiting = [];
    state.items = fresher.concat(state.items).slice(0, MOST);
    if (list.active >= 0) list.active += fresher.length;
    shown();
    if (!reads()) return;
    close();
    list.toTop();
  }

  function setLive(value) {
    state.live = value;
    live.setAttribute("aria-pressed", String(value));
    if (value) write(trouble, "");
    // What has come meanwhile comes now.
    if (value && !wanted.until) listen();
    else {
      state.stream?.close();
      company.hidden = true;
    }
  }

  function open(item) {
    const event = parsed(item);
    const rows = Object.entries(event).map(([name, value]) => [h("dt", { text: name }), h("dd", { class: "mono", text: String(value) })]);
    const link = (address, text) => h("a", { class: "button", href: address, text });
    const shut = h("button", { type: "button", class: "quiet", text: "Close", on: { click: () => {
      close();
      list.element.focus();
    } } });
    put(details, h("div", { class: "buttons" }, h("h2", { text: word(event) }), shut),
      h("p", {}, h("time", { datetime: event.timestamp, text: `${local(event.timestamp)} here` }),
        h("br"), h("span", { class: "soft", text: utc(event.timestamp) })),
      h("div", { class: "links" },
        event["session-id"] && !event.gateway && link(`/sessions/${event["session-id"]}`, "Session"),
        event.user && partnerAddress(event.user) && link(partnerAddress(event.user), `Partner ${event.user}`),
        event["source-ip"] && link(filters.write({ ...filters.read(""), address: event["source-ip"] }), `All from ${event["source-ip"]}`)),
      h("dl", {}, rows));
    details.hidden = false;
    shut.focus({ preventScroll: true });
    // Nothing is returned: `false` would keep the keyboard from doing anything else, such as leaving.
    details.onkeydown = (key) => {
      if (key.key === "Escape") shut.click();
    };
  }

  function close() {
    details.hidden = true;
    if (list.isAtTop) takeIn();
  }

  async function save(format) {
    try {
      await exportEvents(filters.toQuery(wanted), format, (text) => write(status, text));
    } catch (problem) {
      write(trouble, problem.message);
    }
  }
}

// Ids ascend.
function newer(one, other) {
  return (one ?? "") > (other ?? "") ? one : other;
}

function parsed(item) {
  item.event ??= JSON.parse(item.line);
  return item.event;
}

function cells(item) {
  const event = parsed(item);
  const [shape, spoken] = OUTCOMES[outcome(event)];
  const text = [event.gateway && `at ${event.gateway}`, about(event)].filter(Boolean).join(" · ");
  const cell = (name, props, ...children) => h("span", { role: "gridcell", class: name, ...props }, ...children);
  return [
    cell("time", {}, h("time", { datetime: event.timestamp, title: utc(event.timestamp) },
      h("span", { class: "soft", text: `${day(event.timestamp).slice(5)} ` }), clock(event.timestamp))),
    cell("what", {}, h("span", { class: "shape", "aria-hidden": "true", text: shape }), word(event),
      spoken && h("span", { class: "hidden-name", text: ` ${spoken}` })),
    cell("who", { text: who(event) }),
    cell("from mono", { text: event["source-ip"] ?? "" }),
    cell("about", { title: text, text }),
  ];
}
