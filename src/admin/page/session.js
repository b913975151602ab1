// Session: who, from where, with which key, and everything that happened, to be played.

import { follow, get, getIfThere } from "./api.js";
import { OUTCOMES, about, outcome, word } from "./describe.js";
import { h, keyed, partnerAddress, put, write } from "./dom.js";
import { bytes, count, duration, position, speed, utc, when } from "./format.js";
import { WindowedList } from "./list.js";
import { endSession, fileRow, updateFile } from "./now.js";
import { player } from "./player.js";

// The most files in the table; the timeline has all of them.
const FILES = 500;

// The most steps that a page keeps, as many as a recording has; and how often the table of files is made anew.
const STEPS = 100000;
const FILES_EVERY = 1000;

export function show(main, shared, session) {
  const closing = [];
  const head = h("div", { class: "session-head" }, h("h1", { text: `Session ${session}` }));
  const live = h("section", { class: "card", hidden: true, "aria-label": "Now" });
  const rest = h("div", { class: "session-body" }, h("p", { class: "soft", role: "status", text: "Loading…" }));
  put(main, head, live, rest);
  if (shared.may("auditor")) recording();
  else put(rest, h("p", { class: "soft", text: "The timeline requires the role auditor." }));
  closing.push(watchLive(live, session, shared));
  let gone = false;
  return () => {
    gone = true;
    for (const close of closing) close();
  };

  async function recording() {
    try {
      const found = await get(`/recordings/${encodeURIComponent(session)}`);
      if (gone) return;
      const close = showRecording(head, rest, session, found, () => {
        // It has ended: now all of it is known.
        close();
        recording();
      });
      closing.push(close);
    } catch (problem) {
      if (!gone) put(rest, h("p", { class: "error", role: "alert", text: problem.message }));
    }
  }
}

// What is open now, while the session lives.
function watchLive(place, id, shared) {
  const files = h("div", { class: "files" });
  const words = h("span", { class: "soft" });
  const end = shared.may("operator") && h("button", { class: "danger", type: "button", text: "End…" });
  put(place, h("div", { class: "buttons" }, h("span", { class: "chip good", text: "● Live" }), words, h("span", { class: "space" }), end), files);
  let one = null;
  let asks = false;
  if (end) end.addEventListener("click", () => one && endSession(one));
  return shared.watch(async (moment) => {
    one = moment.sessions.find((each) => each.id === id) ?? null;
    // Where there are very many, the stream does not have all of them.
    if (!one && moment.sessions_total > moment.sessions.length && !asks) {
      asks = true;
      one = await getIfThere(`/sessions/${id}`).catch(() => null);
      asks = false;
    }
    place.hidden = one === null;
    if (!one) return;
    if (end) end.disabled = one.ending !== undefined;
    const idle = one.ending ? `ending: ${one.ending.message}` : one.open_files.length ? "" : `idle for ${duration(one.idle_seconds * 1000)}`;
    write(words, `${bytes(one.bytes_in)} received, ${bytes(one.bytes_out)} sent${idle && ` · ${idle}`}`);
    keyed(files, one.open_files, (file) => `${file.operation} ${file.path} ${file.since}`, fileRow, updateFile);
  });
}

function showRecording(head, rest, session, found, ended) {
  const steps = found.events.map((step) => ({ offset: Math.max(0, step["offset-ms"]), event: step.event }));
  const first = steps[0].event;
  // Sessions at targets that came through this one are in it as well.
  const own = steps.filter((step) => step.event["session-id"] === session);
  const connected = own.find((step) => step.event["activity-type"] === "CONNECTED")?.event;
  const end = own.findLast((step) => step.event["activity-type"] === "DISCONNECTED")?.event;
  const user = found.summary.user || "nobody";
  const download = (format, label, extension) => h("a", {
    class: "button", href: `/api/v1/recordings/${session}?format=${format}`, download: `session-${session}.${extension}`, text: label,
  });
  put(head, h("div", {}, h("h1", { text: `Session of ${user}` }), h("p", { class: "soft mono", text: session })),
    h("div", { class: "links" }, user !== "nobody" && partnerAddress(user) && h("a", { class: "button", href: partnerAddress(user), text: "Partner" }),
      h("a", { class: "button", href: `/events?session=${session}`, text: "Events" }),
      download("json", "JSON", "json"), download("asciicast", "Asciicast", "cast"), download("text", "Text", "txt")));
  const facts = h("section", { class: "card" }, h("h2", { text: "Who and how" }), definitions(first, connected, end, found.summary));
  const list = new WindowedList({
    label: "What happened", columns: ["After", "What", "About"], className: "steps", height: [34, 54],
    cells: stepCells, mark: (step, index) => `${outcome(step.event)} ${index > reached ? "later" : ""} ${index === reached ? "current" : ""}`,
    chosen: (step, index) => controls.jump(index),
  });
  let reached = steps.length - 1;
  const controls = player(steps, (index) => {
    reached = index;
    list.refresh();
    if (index >= 0) list.activate(index);
  });
  const table = h("div");
  const trouble = h("p", { class: "error", role: "alert" });
  put(table, files(steps));
  put(rest, h("section", { class: "card grows timeline", "aria-label": "Timeline" },
    h("h2", { text: "Timeline" }), controls.element, trouble, list.element), h("div", { class: "aside" }, facts, table));
  list.show(steps);
  let waits = 0;
  const more = end ? null : followOn(session, steps, trouble, (before) => {
    list.show(steps);
    controls.grew(before);
    waits ||= setTimeout(() => {
      waits = 0;
      put(table, files(steps));
    }, FILES_EVERY);
  }, ended);
  return () => {
    clearTimeout(waits);
    more?.close();
    controls.close();
    list.close();
  };
}

// What happens in it from now on. However fast events come, the page is drawn once a frame, and keeps no more than it can show.
function followOn(session, steps, trouble, grew, ended) {
  const seen = steps[steps.length - 1].event["event-id"];
  const began = new Date(steps[0].event.timestamp);
  let frame = 0;
  let before = steps.length;
  let isOver = false;
  const draw = () => {
    frame = 0;
    grew(before);
    before = steps.length;
    if (isOver) ended();
  };
  const stream = follow((last) => `/events/stream?session=${session}&after=${last ?? seen}`, {
    message: (line) => {
      const event = JSON.parse(line);
      if (steps.length >= STEPS) {
        write(trouble, `This page shows the first ${count(STEPS)} events of the session. The view Events has all of them.`);
        stream.close();
        return;
      }
      steps.push({ offset: Math.max(0, new Date(event.timestamp) - began), event });
      isOver ||= event["activity-type"] === "DISCONNECTED";
      frame ||= requestAnimationFrame(draw);
    },
    gap: () => write(trouble, "Events may be missing here: the files that held them were removed."),
    failed: (why) => write(trouble, `The trail cannot be read, so the timeline has stopped: ${why}.`),
  });
  return {
    close() {
      cancelAnimationFrame(frame);
      stream.close();
    },
  };
}

function stepCells(step) {
  const [shape, spoken] = OUTCOMES[outcome(step.event)];
  const text = about(step.event);
  const cell = (name, props, ...children) => h("span", { role: "gridcell", class: name, ...props }, ...children);
  return [
    cell("time", { title: utc(step.event.timestamp), text: position(step.offset) }),
    cell("what", {}, h("span", { class: "shape", "aria-hidden": "true", text: shape }), word(step.event),
      spoken && h("span", { class: "hidden-name", text: ` ${spoken}` })),
    cell("about", { title: text, text }),
  ];
}

function definitions(first, connected, end, summary) {
  const event = connected ?? first;
  const facts = [
    ["User", summary.user || "–"],
    ["Person", event.identity],
    ["At target", event.target && `${event.account ?? "?"}@${event.target}`],
    ["Came through", event["jump-session-id"] && h("a", { class: "mono", href: `/sessions/${event["jump-session-id"]}`, text: event["jump-session-id"] })],
    ["From", `${event["source-ip"] ?? "–"}${event["source-port"] ? ` port ${event["source-port"]}` : ""}`],
    ["Started", summary.began ? when(summary.began) : "–"],
    ["Duration", end ? duration(end["duration-ms"]) : "not ended yet"],
    ["Ended by", end ? [end["ended-by"] ?? end.reason, end.message].filter(Boolean).join(": ") : "–"],
    ["Logged in with", connected ? [connected.method, connected["ssh-public-key-comment"]].filter(Boolean).join(", ") : "nothing"],
    ["Key", event["ssh-public-key-fingerprint"]], ["Client", event.client], ["Key exchange", event.kex], ["Ciphers", event.ciphers && [...new Set(event.ciphers.split(","))].join(", ")],
    ["Host key", event["host-key-algorithm"]],
    ["Received", end?.["bytes-in"] && `${bytes(end["bytes-in"])} in ${count(end["files-in"])} files`],
    ["Sent", end?.["bytes-out"] && `${bytes(end["bytes-out"])} in ${count(end["files-out"])} files`],
  ];
  return h("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => [h("dt", { text: name }), h("dd", {}, value)]));
}

// Each file with bytes, speed, digest and result.
function files(steps) {
  const ends = steps.map((step) => step.event).filter((event) => ["CLOSE", "PARTIAL_CLOSE"].includes(event["activity-type"])
    || (event["activity-type"] === "ERROR" && event.operation === "CLOSE"));
  const rows = ends.slice(0, FILES).map((event) => {
    const size = Number(event["bytes-in"] ?? event["bytes-out"] ?? 0);
    const [shape, spoken] = OUTCOMES[outcome(event)];
    const ms = Number(event["duration-ms"]);
    return h("li", { class: outcome(event) },
      h("div", {}, h("span", { class: "shape", "aria-hidden": "true", text: shape }), h("span", { class: "mono path", text: event["logical-path"] ?? event.path ?? "" }),
        h("span", { class: "hidden-name", text: ` ${spoken}` })),
      h("div", { class: "soft small", text: [word(event), bytes(size), ms > 0 && speed((size / ms) * 1000), event.message].filter(Boolean).join(" · ") }),
      event.sha256 && h("div", { class: "soft small mono digest", title: event.sha256, text: `sha256 ${event.sha256}` }));
  });
  if (!rows.length) return null;
  const more = ends.length > FILES && h("p", { class: "soft", text: `${count(ends.length - FILES)} more in the timeline.` });
  return h("section", { class: "card" }, h("h2", { text: "Files" }), h("ul", { class: "file-list" }, rows), more);
}
