package authorize

import (
	"net/http"
	"regexp"
	"slices"
	"testing"

	"github.com/usher-auth/usher/session"
)

// FuzzHandler: whatever the method, the query, the body and the cookies are, there
// is no panic and no failure, Location is absent or begins with a registered URI of
// the client that was named, with the endpoint's own URL or with another URL of the
// configuration, and never is there a code together with an error. The rest of what
// holds for every answer is held by checkAlways.
func FuzzHandler(f *testing.F) {
	s := newSite(f, withConsent, withStep(Interaction{Name: "accounts", Prompt: "select_account", Page: "/accounts"}))
	// The fuzzer takes what a log does with its buffers for something new.
	s.config.Logger, s.config.OnEvent = nil, nil
	s.restart()
	waiting := s.visitor(nil)
	at := waiting.get(ask())
	cookie := at.cookies[0].Name + "=" + at.cookies[0].Value
	methods := []string{"GET", "POST", "HEAD", "PUT"}
	f.Add(byte(0), "req="+at.req, "", cookie)
	f.Add(byte(4), "req="+at.req+"&deny=1", "", cookie+"; "+cookie)
	f.Add(byte(8), "req="+at.req, "", cookie)
	for _, changes := range [][]string{
		nil, {"client_id=spa"}, {"client_id=new", "scope=unknown"}, {"client_id=native", "redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcb"},
		{"client_id=unsafe"}, {"client_id=own"}, {"client_id=own", "response_mode=form_post"}, {"client_id=only", "-redirect_uri", "scope=api:read"},
		{"prompt=none"}, {"prompt=login+consent", "max_age=0"}, {"id_token_hint=hint-of-bob"}, {"claims=%7B%22id_token%22:%7B%22sub%22:%7B%22value%22:%22bob%22%7D%7D%7D"},
		{"redirect_uri=https%3A%2F%2Fapp.example%2Fcb%40evil.example"}, {"response_type=code+token"}, {"+state=x"}, {"state=%0d%0aLocation:%20https://evil.example"},
	} {
		for method := range byte(2) {
			for who := range byte(3) {
				f.Add(who<<2|method, ask(changes...), ask(changes...), cookie)
			}
		}
	}
	f.Fuzz(func(t *testing.T, choice byte, query, body, cookies string) {
		s.t = t
		r := formPost("/authorize", body)
		r.Method = methods[choice&3]
		r.URL.RawQuery = query
		r.Header.Set("Cookie", cookies)
		who := []*session.Session{nil, alice(), bob(), {Subject: "alice", SecondFactorPending: true}}[choice>>2&3]
		got := s.visitor(who).send(s.handler, r)
		if got.status >= 500 {
			t.Fatalf("status %d without anything having failed: %s", got.status, got.body)
		}
		switch got.kind {
		case "page", "endpoint", "login", "consent", "accounts":
		case "client":
			if !s.registered(r, query, body, got.target) {
				t.Fatalf("%s ?%s leads to %s", r.Method, query, got.target)
			}
		default:
			t.Fatalf("leads to %s", got.location)
		}
	})
}

var loopbackPort = regexp.MustCompile(`^(http://(?:127\.0\.0\.1|\[::1\])):[1-9][0-9]*`)

// registered reports whether the target is one of the client that the request names,
// on loopback with any port.
func (s *site) registered(r *http.Request, query, body, target string) bool {
	raw := query
	if r.Method == http.MethodPost {
		raw = body
	}
	p, err := s.handler.parse(raw, errBodyTooLarge)
	if err != nil {
		return false
	}
	id := p.get("client_id")
	if req := p.get("req"); req != "" {
		opened, err := s.handler.pending.open(req)
		if err != nil {
			return false
		}
		id = opened.params().get("client_id")
	}
	return slices.ContainsFunc(testClients(), func(c Client) bool {
		return c.ID == id && !c.Disabled && (slices.Contains(c.RedirectURIs, target) || slices.Contains(c.RedirectURIs, loopbackPort.ReplaceAllString(target, "$1")))
	})
}
