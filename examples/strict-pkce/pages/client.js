"use strict";

const issuer = document.body.dataset.issuer;
const client = { client_id: "app", redirect_uri: location.origin + "/" };

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

// show writes the result and marks it: "signed-in", "refused" or "".
function show(text, mark = "") {
  const status = document.getElementById("status");
  status.textContent = text;
  status.className = mark;
}

// signIn leaves for the endpoint, to try it even without one of the parameters. The
// verifier stays in this tab, under the state.
async function signIn(without) {
  const verifier = random();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const request = new URLSearchParams({
    ...client,
    response_type: "code",
    scope: "profile email",
    state: random(),
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  });
  request.delete(without);
  sessionStorage.setItem(request.get("state") ?? "", verifier);
  location.assign(issuer + "/api/id/v1/auth/authorize?" + request);
}

// finish takes the answer that the endpoint has sent the browser back with. Only the
// tab that asked has a verifier under its state, and only once.
async function finish(answer) {
  history.replaceState(null, "", "/"); // a code is not for bookmarks
  const state = answer.get("state") ?? "";
  const verifier = sessionStorage.getItem(state);
  sessionStorage.removeItem(state);
  if (!verifier || answer.get("iss") !== issuer) {
    show("This page did not ask for that answer.", "refused");
    return;
  }
  if (answer.has("error")) {
    show(answer.get("error") + ": " + answer.get("error_description"), "refused");
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
  if (response.ok) {
    show(`Signed in as ${token.sub}, for ${token.scopes.join(" and ")}.`, "signed-in");
  } else {
    show(token.error, "refused");
  }
}

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => signIn(button.dataset.without));
}
const answer = new URLSearchParams(location.search);
if (answer.has("code") || answer.has("error")) {
  finish(answer).catch((error) => show(String(error), "refused"));
}
