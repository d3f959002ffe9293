package main

import (
	"embed"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*"))

// howTo is the page at the server's address, with the commands. Each paragraph is text or
// commands.
func (s *server) howTo(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, "commands.html", strings.Split(strings.Trim(s.commands(), "\n"), "\n\n"))
}

func refusePage(w http.ResponseWriter, status int, page refusal) {
	show(w, status, "refused.html", page)
}

func show(w http.ResponseWriter, status int, page string, data any) {
	noStore(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, page, data); err != nil {
		log.Print(err)
	}
}

// commands are the commands for a shell, in order. They have a new verifier and a new state,
// as every request must.
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

// text explains the commands, which are indented.
const text = `
With curl, these commands get a code for a new profile, and then a token. If you repeat
the first curl, you get another code for the same profile. The API keys are for demonstration.

  export API_KEY=demo-key-of-cli
  answer=$(curl -sS -H "x-api-key: $API_KEY" 'ASK_BY_CLI')
  echo "$answer"
  code=$(echo "$answer" | sed 's/.*"code":"\([^"]*\)".*/\1/')
  answer=$(curl -sS -H "x-api-key: $API_KEY" -d grant_type=authorization_code -d client_id=cli \
    -d redirect_uri=URN -d "code=$code" -d code_verifier=VERIFIER BASE/oauth/token)
  echo "$answer"
  token=$(echo "$answer" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

With the token, you get a code for the same profile:

  curl -sS -H "x-api-key: $API_KEY" -H "x-profile-jwt: $token" 'ASK_BY_CLI'

A client with a redirect URI gets a redirect and no JSON:

  curl -sS -i -H 'x-api-key: demo-key-of-website' 'ASK_BY_WEBSITE'

With the refresh token, you get a new token without the authorization endpoint. A refresh
token works once. The response has the next one. The second use revokes both.

  refresh=$(echo "$answer" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
  curl -sS -H "x-api-key: $API_KEY" -d grant_type=refresh_token -d client_id=cli \
    -d "refresh_token=$refresh" BASE/oauth/token
  curl -sS -H "x-api-key: $API_KEY" -d grant_type=refresh_token -d client_id=cli \
    -d "refresh_token=$refresh" BASE/oauth/token

A program can do all of this. It prints the token, first for a new profile, then for the same:

  export API_KEY=demo-key-of-cli
  token=$(go run ./examples/out-of-band -client BASE) && export PROFILE_JWT="$token"
  go run ./examples/out-of-band -client BASE
`
