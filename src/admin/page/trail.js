// Trail: is everything on record, signed and whole?

import { call, eventLines, getIfThere } from "./api.js";
import { h, keyed, put, toast, write } from "./dom.js";
import { ago, bytes, count, local, some, when } from "./format.js";

const CHECKPOINTS = 20;

// How soon the trail is looked at again when the gateway's state still does not fit to it. Each look is an event of the trail.
const LOOKED_EVERY = 5000;

// The most findings that are shown; `lockgate audit verify` has all.
const FINDINGS = 20;

export function show(main, shared) {
  const sinks = h("div", { class: "parts" });
  const verdict = h("section", { class: "card verdict", hidden: true, role: "status" });
  const state = h("section", { class: "card", hidden: true });
  const verify = h("section", { class: "card", hidden: true });
  const points = h("section", { class: "card" }, h("h2", { text: "Checkpoints" }), h("p", { class: "soft", text: "Loading…" }));
  put(main, h("h1", { text: "Trail" }), verdict,
    h("div", { class: "columns" }, h("div", {}, verify, points),
      h("div", {}, state, h("section", { class: "card" }, h("h2", { text: "Sinks" }), sinks))));
  let gone = false;
  const known = { trail: null, looked: 0, state: "" };
  const stop = shared.watch((moment) => {
    showSinks(sinks, moment.status.sinks, known.trail);
    progressed(moment.verification);
  });
  look();
  checkpoints(points);
  return () => {
    gone = true;
    stop();
  };

  // How far a verification is comes with the gateway's state; the trail is looked at when one has begun or ended.
  function progressed(now) {
    const one = known.trail?.verification;
    const isOther = now ? !one || now.started > one.started || (now.started === one.started && now.finished && !one.finished) : one && !one.finished;
    const state = `${now?.started} ${now?.finished}`;
    if (known.trail && isOther && (state !== known.state || Date.now() - known.looked >= LOOKED_EVERY)) {
      known.state = state;
      look();
    } else if (now && one && now.started === one.started && !one.finished) {
      showProgress(verify, now);
    }
  }

  async function look() {
    known.looked = Date.now();
    const trail = await getIfThere("/trail").catch(() => null);
    if (gone || !trail) return;
    known.trail = trail;
    const one = trail.verification;
    showState(state, trail);
    showVerification(verify, one, begin);
    showVerdict(verdict, one);
    if (shared.moment) showSinks(sinks, shared.moment.status.sinks, trail);
  }

  async function begin() {
    try {
      await call("POST", "/trail/verify");
      await look();
    } catch (problem) {
      toast(problem.message, "bad");
    }
  }
}

function showSinks(place, sinks, trail) {
  keyed(place, sinks, (sink) => sink.name,
    () => h("div", { class: "part" }, h("span", { class: "chip" }), h("span", { class: "what" }), h("span", { class: "soft kind" })),
    (row, sink) => {
      const more = trail?.sinks.find((one) => one.name === sink.name);
      row.querySelector(".chip").className = `chip ${sink.failure ? "bad" : "good"}`;
      write(row.querySelector(".chip"), sink.failure ? "✕ fails" : "✓ writes");
      const notes = [sink.failure, more?.backlog_bytes > 0 && `${bytes(more.backlog_bytes)} queued`,
        more?.owed_bytes > 0 && `${bytes(more.owed_bytes)} not yet accepted`,
        more?.spool && `${bytes(more.spool.bytes)} of ${bytes(more.spool.limit)} in the spool`, more?.spool?.trouble,
        more?.spool?.undelivered > 0 && `${more.spool.undelivered} refused deliveries set aside`];
      write(row.querySelector(".what"), [sink.name, ...notes].filter(Boolean).join(" · "));
      write(row.querySelector(".kind"), sink.required ? "required" : "optional");
    });
}

// What is known of the chain, a line each.
function showState(section, trail) {
  const facts = [
    ["Chain", trail.chain], ["After a restart", trail.kept ? "continues" : "starts anew: no section audit"],
    ["Newest event", count(trail.sequence)], ["On record", `up to ${count(trail.acknowledged)}`],
    ["Signed by", trail.key ?? "no key"],
    ["Last checkpoint", trail.checkpoint && h("span", {}, `${count(trail.checkpoint.sequence)}, `, when(trail.checkpoint.time, ago(trail.checkpoint.time)))],
    ["Hash", trail.hash], ["File", trail.file ?? "no file keeps the whole trail"],
  ];
  put(section, h("h2", { text: "Chain" }), h("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => [
    h("dt", { text: name }), h("dd", { class: ["Chain", "Hash", "File", "Signed by"].includes(name) ? "mono" : "" }, value),
  ])));
  section.hidden = false;
}

function showVerification(section, one, begin) {
  const runs = one !== undefined && !one.finished;
  const button = h("button", { class: "primary", type: "button", text: runs ? "Verifying…" : "Verify now", on: { click: begin } });
  button.disabled = runs;
  const bar = runs && h("progress", { max: "1", "aria-label": "Verification" });
  const far = runs && h("span", { class: "soft far" });
  put(section, h("h2", { text: "Verification" }),
    h("p", { class: "soft", text: "Reads every line, and checks for missing, changed or added lines and for invalid signatures." }),
    h("div", { class: "buttons verify" }, button, far), bar);
  if (runs) showProgress(section, one);
  section.hidden = false;
}

function showProgress(section, one) {
  const { bytes_read: read, bytes_total: total, files, files_total: all } = one;
  const bar = section.querySelector("progress");
  if (!bar) return;
  // The file that is being written grows.
  if (total) bar.value = Math.min(read / total, 1);
  write(section.querySelector(".far"), `${bytes(Math.min(read, total))} of ${bytes(total)}, file ${count(files)} of ${count(all)}`);
}

function showVerdict(verdict, one) {
  verdict.hidden = !one?.finished;
  if (!one?.finished) return;
  const text = one.whole ? "The trail is whole." : one.failure ? `The trail cannot be read: ${one.failure}.`
    : `The trail is not whole: ${some(one.report?.["finding-count"] ?? 0, "finding")}.`;
  const signed = one.signatures ? "Signatures were checked." : "Nothing is signed.";
  verdict.className = `card verdict ${one.whole ? "good" : "bad"}`;
  const findings = (one.report?.findings ?? []).slice(0, FINDINGS);
  put(verdict, h("span", { class: "shape", "aria-hidden": "true", text: one.whole ? "✓" : "✕" }),
    h("div", {}, h("h2", { text }),
      h("p", { class: "soft" }, `${some(one.report?.lines ?? 0, "line")}, ${bytes(one.bytes)} in ${some(one.files_total, "file")}. ${signed} `,
        `Requested by ${one.by}, finished `, when(one.finished, ago(one.finished)), "."),
      h("ul", {}, findings.map((finding) => h("li", { class: "small", text: typeof finding === "string" ? finding : `${finding.what} (line ${finding.line} of ${finding.file})` })))));
}

async function checkpoints(section) {
  try {
    const { lines } = await eventLines(`activity=CHECKPOINT&format=ndjson&limit=${CHECKPOINTS}`);
    const events = lines.map((line) => JSON.parse(line));
    const rows = events.map((event) => h("tr", {},
      h("th", { scope: "row" }, when(event.timestamp, local(event.timestamp))), h("td", { text: event.reason }),
      h("td", {}, h("span", { class: `chip ${event.signature ? "good" : "plain"}`, text: event.signature ? "✓ signed" : "not signed" })),
      h("td", { text: count(event.sequence) }),
      h("td", { class: "mono small digest", text: event["checkpoint-key"] ?? "" })));
    put(section, h("h2", { text: "Checkpoints" }),
      rows.length ? h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Checkpoints" }, h("table", {},
        h("thead", {}, h("tr", {}, ["Time", "Reason", "Signature", "Line", "Key"].map((name) => h("th", { scope: "col", text: name })))),
        h("tbody", {}, rows)))
        : h("p", { class: "soft", text: "The trail has no checkpoints. Without the section `audit`, nothing is signed." }));
  } catch (problem) {
    put(section, h("h2", { text: "Checkpoints" }), h("p", { class: "error", role: "alert", text: problem.message }));
  }
}
