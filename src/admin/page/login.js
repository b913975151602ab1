// The view for those who are not logged in: by a link, by a token, or with the identity provider.

import { call, ways } from "./api.js";
import { h, id, put } from "./dom.js";

// Shows it; `done` is told who has logged in.
const CALLBACK = "/login/callback";

// Where a browser goes on that comes back from the identity provider; nothing else is kept there.
const TO = "lockgate-to";

export function showLogin(main, done) {
  document.title = "Log in · Lockgate";
  if (location.pathname === CALLBACK) {
    comeBack(main, done);
    return;
  }
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  // It is of use once, and has no business in the history.
  if (code) history.replaceState(null, "", "/login");
  if (code) redeem(main, code, done);
  else form(main, done);
}

// The provider has sent the browser back: with a code, or with the word why not.
async function comeBack(main, done) {
  const words = new URLSearchParams(location.search);
  const to = sessionStorage.getItem(TO);
  sessionStorage.removeItem(TO);
  // The code has no business in the history.
  history.replaceState(null, "", "/login");
  const error = words.get("error");
  if (error !== null) {
    // What else is there anybody can have written who made the link.
    const word = /^[a-z_]{1,40}$/.test(error) ? ` (${error})` : "";
    form(main, done, `The identity provider did not log you in${word}.`);
    return;
  }
  put(main, h("div", { class: "alone" }, h("p", { role: "status", text: "Logging in…" })));
  const sent = { code: words.get("code") ?? "", state: words.get("state") ?? "" };
  if (words.has("iss")) sent.issuer = words.get("iss");
  try {
    const me = await call("POST", "/login/oidc/finish", sent);
    if (to?.startsWith("/")) history.replaceState(null, "", to);
    done(me);
  } catch (problem) {
    form(main, done, problem.message);
  }
}

async function redeem(main, code, done) {
  put(main, h("div", { class: "alone" }, h("p", { role: "status", text: "Logging in…" })));
  try {
    done(await call("POST", "/login", { code }));
  } catch (problem) {
    form(main, done, problem.message);
  }
}

function form(main, done, trouble = "") {
  const [field, hint, error] = [id("token"), id("hint"), id("error")];
  const said = h("p", { class: "error", id: error, role: "alert", text: trouble });
  const input = h("input", {
    id: field, type: "password", name: "token", autocomplete: "current-password", spellcheck: "false", required: true,
    placeholder: "lgt_…", "aria-describedby": `${hint} ${error}`,
  });
  const button = h("button", { class: "primary", type: "submit", text: "Log in" });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    said.textContent = "";
    try {
      const me = await call("POST", "/login", { token: input.value.trim() });
      input.value = "";
      done(me);
    } catch (problem) {
      said.textContent = problem.message;
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  const provider = h("div", { class: "provider", hidden: true });
  put(main, h("div", { class: "alone" },
    h("form", { class: "card login", on: { submit } },
      h("img", { src: "/page/icon.svg", alt: "", width: "44", height: "44" }),
      h("h1", { text: "Lockgate" }),
      provider,
      h("p", { class: "soft", id: hint, text: "Log in with a token of the admin door. It is sent once and not stored in the browser." }),
      h("input", { type: "text", name: "username", autocomplete: "username", value: "lockgate", hidden: true }),
      h("label", { for: field, text: "Token" }), input, said, button,
      h("p", { class: "soft small" }, "No token? ", h("code", { text: "lockgate admin link" }),
        " on the gateway's machine prints a link that logs you in."))));
  input.focus();
  offerProvider(provider, said);
}

// Where an identity provider is configured, it comes first.
async function offerProvider(place, said) {
  const { provider } = await ways();
  if (!provider) return;
  const go = async () => {
    button.disabled = true;
    said.textContent = "";
    try {
      const { url } = await call("POST", "/login/oidc");
      if (!location.pathname.startsWith("/login")) sessionStorage.setItem(TO, location.pathname + location.search);
      location.assign(url);
    } catch (problem) {
      said.textContent = problem.message;
      button.disabled = false;
    }
  };
  const button = h("button", { class: "primary", type: "button", text: `Log in with ${provider}`, on: { click: go } });
  put(place, button, h("p", { class: "or soft", text: "or" }));
  place.hidden = false;
}
