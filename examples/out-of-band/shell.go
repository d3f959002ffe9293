package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

// howTo is for whoever opens the server's address.
func (s *server) howTo(w http.ResponseWriter, _ *http.Request) {
	noStore(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	io.WriteString(w, s.commands())
}

// commands are what to type in a shell, one after the other. The verifier and the state
// in them are new, as those of every request have to be.
func (s *server) commands() string {
	verifier, state := pkce.NewVerifier(), pkce.NewVerifier()
	ask := func(client, redirectURI string) string {
		return s.base + "/oauth/authorize?response_type=code&client_id=" + client +
			"&redirect_uri=" + url.QueryEscape(redirectURI) + "&state=" + state +
			"&code_challenge=" + pkce.Challenge(verifier) + "&code_challenge_method=S256"
	}
	return strings.NewReplacer(
		"BASE", s.base, "VERIFIER", verifier, "URN", authorize.OutOfBandAuto,
		"ASK_BY_CLI", ask("cli", authorize.OutOfBandAuto),
		"ASK_BY_WEBSITE", ask("website", "https://website.example/callback"),
	).Replace(text)
}

// text has its commands indented.
const text = `
A new profile, a code for it and the token for that, by curl. Sent again, the first
command gets another code for the same profile. The API keys are for demonstration.

  export API_KEY=demo-key-of-cli
  answer=$(curl -sS -H "x-api-key: $API_KEY" 'ASK_BY_CLI')
  echo "$answer"
  code=$(echo "$answer" | sed 's/.*"code":"\([^"]*\)".*/\1/')
  answer=$(curl -sS -H "x-api-key: $API_KEY" -d grant_type=authorization_code -d client_id=cli \
    -d redirect_uri=URN -d "code=$code" -d code_verifier=VERIFIER BASE/oauth/token)
  echo "$answer"
  token=$(echo "$answer" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

The same profile again, by its token:

  curl -sS -H "x-api-key: $API_KEY" -H "x-profile-jwt: $token" 'ASK_BY_CLI'

A client that has an address is redirected to it, and has no JSON to read:

  curl -sS -i -H 'x-api-key: demo-key-of-website' 'ASK_BY_WEBSITE'

A new token by the refresh token, so that the profile is not asked for again. It works
once: with the answer comes the next one, and the second time it ends both.

  refresh=$(echo "$answer" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
  curl -sS -H "x-api-key: $API_KEY" -d grant_type=refresh_token -d client_id=cli \
    -d "refresh_token=$refresh" BASE/oauth/token
  curl -sS -H "x-api-key: $API_KEY" -d grant_type=refresh_token -d client_id=cli \
    -d "refresh_token=$refresh" BASE/oauth/token

All of it in one program, which prints the token: for a new profile, then for the same.

  export API_KEY=demo-key-of-cli
  token=$(go run ./examples/out-of-band -client BASE) && export PROFILE_JWT="$token"
  go run ./examples/out-of-band -client BASE
`
