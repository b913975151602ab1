// What an event says, in words: its name, how it went, and what it was about.

import { bytes, duration, some } from "./format.js";

// The views of an auditor: which activities each has.
export const VIEWS = [
  ["logins", "Logins", ["CONNECTED", "AUTH_FAILURE"]],
  ["connections", "Connections", ["CONNECTED", "DISCONNECTED", "CONNECTION_REJECTED", "KEX_FAILURE", "EXIT_REASON"]],
  ["files", "Files", [
    "OPEN", "CLOSE", "PARTIAL_CLOSE", "DELETE", "RENAME", "MKDIR", "RMDIR", "SETSTAT", "LIST", "CREATE_SYMLINK", "ERROR",
  ]],
  ["people", "Users and administrators", ["USER_ADDED", "USER_CHANGED", "USER_REMOVED", "ADMIN_CALL"]],
  ["all", "All", []],
];

export const WORDS = {
  CONNECTED: "Logged in", AUTH_FAILURE: "Login failed", DISCONNECTED: "Disconnected", CONNECTION_REJECTED: "Refused",
  KEX_FAILURE: "Negotiation failed", EXIT_REASON: "Connection failed", OPEN: "Opened", CLOSE: "Closed",
  PARTIAL_CLOSE: "Cut off", DELETE: "Deleted", RENAME: "Renamed", MKDIR: "Folder created", RMDIR: "Folder removed",
  SETSTAT: "Attributes set", LIST: "Listed", CREATE_SYMLINK: "Link", ERROR: "Error", REQUEST_DENIED: "Request denied",
  USER_ADDED: "User added", USER_CHANGED: "User changed", USER_REMOVED: "User removed", ADMIN_CALL: "Admin call",
  CHECKPOINT: "Checkpoint", TRAIL_VERIFIED: "Trail verified", FLEET_ALONE: "Alone",
  FLEET_JOINED: "Together again",
};

// What did not come about has another name than what did.
const NOT = {
  OPEN: "Not opened", DELETE: "Not deleted", RENAME: "Not renamed", MKDIR: "Folder not created", RMDIR: "Folder not removed",
  SETSTAT: "Attributes not set", LIST: "Not listed", CREATE_SYMLINK: "Link refused",
};

const BAD = new Set(["AUTH_FAILURE", "CONNECTION_REJECTED", "KEX_FAILURE", "EXIT_REASON", "ERROR", "PARTIAL_CLOSE", "FLEET_ALONE"]);

// The name of what happened.
export function word(event) {
  const kind = event["activity-type"];
  if (["failure", "denied"].includes(event.status) && NOT[kind]) return NOT[kind];
  if (kind === "CLOSE" && event.status !== "failure") {
    return { write: "Uploaded", read: "Downloaded", copy: "Copied" }[event.operation] ?? WORDS.CLOSE;
  }
  if (kind === "OPEN") return event.operation === "write" ? "Upload started" : "Download started";
  return WORDS[kind] ?? kind;
}

// "good", "denied", "bad" or "plain": shown by shape, word and colour.
export function outcome(event) {
  if (event.status === "denied" || event["activity-type"] === "REQUEST_DENIED") return "denied";
  if (event.status === "failure" || BAD.has(event["activity-type"])) return "bad";
  return event.status === "success" || event["activity-type"] === "CONNECTED" ? "good" : "plain";
}

export const OUTCOMES = {
  good: ["✓", "succeeded"], denied: ["⊘", "denied"], bad: ["✕", "failed"], plain: ["·", ""],
};

// What it was about, in one line.
export function about(event) {
  const parts = event["jump-session-id"] ? [`${event.account ?? "?"}@${event.target}`] : [];
  switch (event["activity-type"]) {
    case "CONNECTED":
      parts.push(event.method, event["ssh-public-key-comment"], event.client);
      break;
    case "AUTH_FAILURE":
      parts.push(event.reason, event.method, event["ssh-public-key-fingerprint"], event.message);
      break;
    case "DISCONNECTED":
      parts.push(ended(event), duration(event["duration-ms"]), moved(event));
      break;
    case "RENAME":
      parts.push(`${event["logical-path"]} → ${event["new-logical-path"]}`, why(event));
      break;
    case "ADMIN_CALL":
      parts.push(`${event.method} ${event.path}`, event["http-status"], event.reason, event.message);
      break;
    case "CHECKPOINT":
      parts.push(event.reason, event.signature ? "signed" : "not signed");
      break;
    case "REQUEST_DENIED":
      parts.push(event.request, event.message);
      break;
    default:
      parts.push(event["logical-path"] ?? event.path, amount(event), event.reason, why(event));
  }
  return parts.filter((part) => part !== undefined && part !== "").join(" · ");
}

// The message, without the path that stands before it already.
function why(event) {
  const path = `${event["logical-path"]}: `;
  return event.message?.startsWith(path) ? event.message.slice(path.length) : event.message;
}

// Who: the user, or the administrator who called.
export function who(event) {
  return event.user ?? event.caller ?? "";
}

function ended(event) {
  if (event["ended-by"]) return `by ${event["ended-by"]}: ${event.message ?? ""}`;
  return [event.reason, event.message].filter(Boolean).join(": ");
}

function moved(event) {
  const [received, sent] = [Number(event["bytes-in"] ?? 0), Number(event["bytes-out"] ?? 0)];
  return [received && `${bytes(received)} in`, sent && `${bytes(sent)} out`].filter(Boolean).join(", ") || undefined;
}

function amount(event) {
  const total = event["bytes-in"] ?? event["bytes-out"];
  return total === undefined ? undefined : bytes(total);
}

// A session in a sentence.
export function sentence(summary, events) {
  const ends = summary.reason ? `ended (${[summary.reason, summary["ended-by"]].filter(Boolean).join(" ")})` : "not ended yet";
  return `${some(events, "event")}, ${ends}`;
}
