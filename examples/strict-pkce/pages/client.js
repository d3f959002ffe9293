"use strict";

const issuer = document.currentScript.dataset.issuer;
const client = { client_id: "app", redirect_uri: location.origin + "/" };

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

// show writes the result, with the class "note", "wrong" or "".
function show(text, mark = "") {
  const status = document.getElementById("status");
  status.textContent = text;
  status.className = mark;
}

// user is signed in in this tab, until it is closed.
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

// ask opens the endpoint, perhaps without one of the parameters. The tab keeps the
// verifier, under the state.
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

// finish handles the response of the endpoint. Only the tab that made the request has a
// verifier under its state, and uses it once. A response without state can only be an
// error.
async function finish(answer) {
  history.replaceState(null, "", "/"); // keeps the code out of bookmarks
  const asked = "asked-" + (answer.get("state") ?? "");
  const verifier = sessionStorage.getItem(asked);
  sessionStorage.removeItem(asked);
  if (!verifier || answer.get("iss") !== issuer || (answer.has("code") && !answer.get("state"))) {
    show("This page did not ask for this response.", "wrong");
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
  user.set(`Signed in as ${token.sub}, for ${token.scope.replaceAll(" ", " and ")}.`);
  showUser();
}

document.getElementById("sign-in").addEventListener("click", () => ask());
document.getElementById("sign-out").addEventListener("click", () => {
  user.forget();
  showUser();
  show("You are signed out here, but still signed in at the server.");
});
for (const button of document.querySelectorAll("[data-without]")) {
  button.addEventListener("click", () => ask(button.dataset.without));
}
showUser();
const answer = new URLSearchParams(location.search);
if (answer.has("code") || answer.has("error")) {
  finish(answer).catch((error) => show(String(error), "wrong"));
}
