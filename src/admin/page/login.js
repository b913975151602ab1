// The view for those who are not logged in: by a link, or by a token.

import { call } from "./api.js";
import { h, id, put } from "./dom.js";

// Shows it; `done` is told who has logged in.
export function showLogin(main, done) {
  document.title = "Log in · Lockgate";
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  // It is of use once, and has no business in the history.
  if (code) history.replaceState(null, "", "/login");
  if (code) redeem(main, code, done);
  else form(main, done);
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
      said.textContent = `${problem.message[0].toUpperCase()}${problem.message.slice(1)}.`.replace(/\.\.$/, ".");
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  put(main, h("div", { class: "alone" },
    h("form", { class: "card login", on: { submit } },
      h("img", { src: "/page/icon.svg", alt: "", width: "44", height: "44" }),
      h("h1", { text: "Lockgate" }),
      h("p", { class: "soft", id: hint, text: "Log in with a token of the admin door. It is sent once and not stored in the browser." }),
      h("input", { type: "text", name: "username", autocomplete: "username", value: "lockgate", hidden: true }),
      h("label", { for: field, text: "Token" }), input, said, button,
      h("p", { class: "soft small" }, "No token? ", h("code", { text: "lockgate admin link" }),
        " on the gateway's machine prints a link that logs you in."))));
  input.focus();
}
