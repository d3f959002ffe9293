"use strict";

const issuer = document.currentScript.dataset.issuer;
const client = { client_id: "app", redirect_uri: location.origin + "/" };

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

// show writes the result and marks it: "note", "wrong" or "".
function show(text, mark = "") {
  const status = document.getElementById("status");
  status.textContent = text;
  status.className = mark;
}

// user is who is signed in here, in this tab, until it is closed.
const user = {
  get: () => sessionStorage.getItem("user"),
  set: (text) => sessionStorage.setItem("user", text),
  forget: () => sessionStorage.removeItem("user"),
};

function showUser() {
  document.getElementById("sign-out").hidden = !user.get();
  if (user.get()) {
    show(user.get(), "note");
  }
}

// ask leaves for the endpoint, maybe without one of the parameters. The verifier stays
// in this tab, under the state.
async function ask(without) {
  const verifier = random();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const request = {
    ...client,
    response_type: "code",
    scope: "profile email",
    state: random(),
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  };
  delete request[without];
  sessionStorage.setItem("asked-" + (request.state ?? ""), verifier);
  location.assign(issuer + "/api/id/v1/auth/authorize?" + new URLSearchParams(request));
}

// finish takes the answer that the endpoint has sent the browser back with. Only the
// tab that asked has a verifier under its state, and only once. Without a state there
// is nothing to come but an error.
async function finish(answer) {
  history.replaceState(null, "", "/"); // a code is not for bookmarks
  const asked = "asked-" + (answer.get("state") ?? "");
  const verifier = sessionStorage.getItem(asked);
  sessionStorage.removeItem(asked);
  if (!verifier || answer.get("iss") !== issuer || (answer.has("code") && !answer.get("state"))) {
    show("This page did not ask for that answer.", "wrong");
    return;
  }
  if (answer.has("error")) {
    show(answer.get("error") + ": " + answer.get("error_description"), "wrong");
    return;
  }
  show("Signing in …");
  const response = await fetch(issuer + "/token", {
    method: "POST",
    body: new URLSearchParams({
      ...client, grant_type: "authorization_code", code: answer.get("code"), code_verifier: verifier,
    }),
  });
  const token = await response.json();
  if (!response.ok) {
    show(token.error, "wrong");
    return;
  }
  user.set(`Signed in as ${token.sub}, for ${token.scopes.join(" and ")}.`);
  showUser();
}

document.getElementById("sign-in").addEventListener("click", () => ask());
document.getElementById("sign-out").addEventListener("click", () => {
  user.forget();
  showUser();
  show("Nobody is signed in here any more. At the server you still are.");
});
for (const button of document.querySelectorAll("[data-without]")) {
  button.addEventListener("click", () => ask(button.dataset.without));
}
showUser();
const answer = new URLSearchParams(location.search);
if (answer.has("code") || answer.has("error")) {
  finish(answer).catch((error) => show(String(error), "wrong"));
}
