// Calls of the API. The cookie goes along by itself; no script can read it.

const BASE = "/api/v1";

// As people write it; what begins with a name stays as it is.
function sentence(text) {
  const begun = /^[a-z]+[ ,']/.test(text) ? `${text[0].toUpperCase()}${text.slice(1)}` : text;
  return /[.?!…]$/.test(begun) ? begun : `${begun}.`;
}

// A call that was refused or failed; `message` is a sentence.
export class Problem extends Error {
  constructor(status, detail) {
    super(sentence(detail));
    this.status = status;
  }
}

async function send(method, path, body) {
  const options = { method, redirect: "error", cache: "no-store" };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(BASE + path, options);
  } catch {
    throw new Problem(0, "The gateway does not answer.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 && !path.startsWith("/login")) window.dispatchEvent(new Event("logged-out"));
  throw new Problem(response.status, problem.detail ?? `The gateway answers ${response.status}.`);
}

// A call that is answered by JSON, or by nothing.
export async function call(method, path, body) {
  const response = await send(method, path, body);
  return response.status === 204 ? null : response.json();
}

// Whether there is an identity provider to log in with: asked before anybody has logged in.
export async function ways() {
  try {
    const response = await fetch("/page/login.json", { redirect: "error" });
    return await response.json();
  } catch {
    return { provider: null };
  }
}

export const get = (path) => call("GET", path);

// The same; `null` where this gateway has no such thing.
export async function getIfThere(path) {
  try {
    return await get(path);
  } catch (problem) {
    if (problem.status === 404 || problem.status === 403) return null;
    throw problem;
  }
}

// A page of events as the lines that they are, newest first, and where the next page begins.
export async function eventLines(query) {
  const response = await send("GET", `/events?${query}`);
  const next = /[?&]before=([0-9a-f-]+)/.exec(response.headers.get("Link") ?? "")?.[1] ?? null;
  const text = await response.text();
  return { lines: text.split("\n").filter((line) => line !== ""), next };
}

function detailOf(data) {
  try {
    return JSON.parse(data).detail ?? "";
  } catch {
    return "";
  }
}

// Follows a stream of the API until it is closed; it goes on by itself after the loss of a connection, and rests while nobody
// looks at the page. `address(last)` gives the path, with what was seen last; `hear` has a listener for each kind of event;
// `state` hears "live", "lost", "resting" or "failed". When the gateway says that it cannot go on (`event: failed`), trying again would
// give the same again: it stops, and `hear.failed` is told why.
export function follow(address, hear, state = () => {}) {
  let source = null;
  let last = null;
  let waits = null;
  let pause = 1000;
  let failed = false;
  let closed = false;
  const open = () => {
    waits = null;
    if (source || document.hidden || failed || closed) return;
    source = new EventSource(BASE + address(last));
    source.onopen = () => {
      pause = 1000;
      state("live");
    };
    source.addEventListener("failed", (event) => {
      failed = true;
      shut();
      state("failed");
      hear.failed?.(detailOf(event.data));
    });
    for (const [kind, act] of Object.entries(hear)) {
      if (kind === "failed") continue;
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        act(event.data);
      });
    }
    source.onerror = () => {
      if (failed) return;
      state("lost");
      if (source?.readyState === EventSource.CLOSED) {
        shut();
        waits = setTimeout(retry, pause);
        pause = Math.min(pause * 2, 30000);
      }
    };
  };
  // A stream does not say why it was refused; another call does. It may be closed before that is answered.
  const retry = () => get("/me").then(open, (problem) => {
    if (!closed && problem.status !== 401) waits = setTimeout(retry, pause);
  });
  const shut = () => {
    source?.close();
    source = null;
  };
  const look = () => {
    if (document.hidden) {
      shut();
      state("resting");
    } else if (!waits) open();
  };
  document.addEventListener("visibilitychange", look);
  open();
  return {
    close() {
      closed = true;
      document.removeEventListener("visibilitychange", look);
      clearTimeout(waits);
      shut();
    },
  };
}
