// What is filtered, as a file: the lines as they are, or a table.

import { eventLines } from "./api.js";
import { h } from "./dom.js";
import { count } from "./format.js";

const PAGE = 10000;
const MOST = 100000;

// As `format=csv` of the API has them.
const COLUMNS = [
  "timestamp", "activity-type", "status", "user", "caller", "source-ip", "session-id", "protocol", "operation", "logical-path",
  "new-logical-path", "path", "bytes-in", "bytes-out", "sha256", "reason", "message", "event-id", "method", "role", "http-status",
  "identity", "ssh-public-key-fingerprint", "target", "account", "ended-by",
];

// Fetches all that fits, up to a bound, and hands it to the browser as a download. `progress` hears a sentence.
export async function exportEvents(query, format, progress) {
  const parts = [];
  let [number, before] = [0, null];
  do {
    const asked = new URLSearchParams(query);
    asked.set("format", "ndjson");
    asked.set("limit", String(PAGE));
    if (before) asked.set("before", before);
    const { lines, next } = await eventLines(asked);
    number += lines.length;
    before = next;
    parts.push(format === "csv" ? lines.map((line) => row(JSON.parse(line))).join("") : lines.map((line) => `${line}\n`).join(""));
    progress(`${count(number)} events…`);
  } while (before && number < MOST);
  if (format === "csv") parts.unshift(`${COLUMNS.map((name) => `"${name}"`).join(",")}\r\n`);
  const kind = format === "csv" ? "text/csv" : "application/x-ndjson";
  save(new Blob(parts, { type: kind }), `events-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${format}`);
  progress(before ? `The newest ${count(number)} events; narrow the filters for older ones.` : `${count(number)} events.`);
  return number;
}

export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function row(event) {
  return `${COLUMNS.map((name) => cell(event[name])).join(",")}\r\n`;
}

// A spreadsheet must not compute what a client named its file. Some part cells at semicolons as well, so all are quoted.
function cell(value) {
  let text = value === undefined ? "" : String(value);
  if (/^(\s*[=+\-@＝＋－＠]|[\t\r\n])/.test(text)) text = `'${text}`;
  return `"${text.replaceAll('"', '""')}"`;
}
