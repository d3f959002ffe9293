package main

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// refresh sends a refresh token to the token endpoint, with changes to the form.
func (s *site) refresh(token string, changes ...string) answer {
	s.t.Helper()
	return s.exchange(url.Values{"grant_type": {"refresh_token"}, "client_id": {"cli"}, "refresh_token": {token}}, changes)
}

// refreshed expects a new JWT for the profile, and returns the next refresh token.
func (s *site) refreshed(a answer, profile any) (next string) {
	s.t.Helper()
	next, _ = a.object["refresh_token"].(string)
	token, _ := a.object["access_token"].(string)
	c, err := s.server.tokens.verify(token)
	if a.status != http.StatusOK || next == "" || err != nil || c.Subject != profile || a.object["profile"] != profile {
		s.t.Fatalf("status %d, want tokens for %v: %v, %s", a.status, profile, err, a.body)
	}
	return next
}

// notRefreshed expects an error.
func (s *site) notRefreshed(a answer, code string) {
	s.t.Helper()
	if a.status != http.StatusBadRequest || a.object["error"] != code || a.object["refresh_token"] != nil {
		s.t.Errorf("status %d and %s, want %s", a.status, a.body, code)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		s.t.Errorf("Cache-Control is %q", got)
	}
}

// first redeems a code and returns the first refresh token.
func (s *site) first() (token string, profile any) {
	s.t.Helper()
	a := s.redeem(s.code(params()))
	token = s.refreshed(a, a.object["profile"])
	return token, a.object["profile"]
}

// The endpoint "should only be used if no refresh token is available": with one, the profile
// stays the same and no new one is made.
func TestRefreshTokensKeepTheProfile(t *testing.T) {
	s := newSite(t)
	token, profile := s.first()
	for range 3 {
		s.now = s.now.Add(refreshLifetime - time.Second) // the JWT expired long ago
		next := s.refreshed(s.refresh(token), profile)
		if next == token {
			t.Fatalf("the refresh token stays %s", token)
		}
		token = next
	}
	s.profiles(1)
	s.now = s.now.Add(refreshLifetime)
	s.notRefreshed(s.refresh(token), "invalid_grant") // at its end
}

func TestRefreshTokensWorkOnce(t *testing.T) {
	inSites(t, map[string]func(s *site, first, second, code string) answer{
		"the first one":  func(s *site, first, _, _ string) answer { return s.refresh(first) },
		"the one before": func(s *site, _, second, _ string) answer { return s.refresh(second) },
		"the code":       func(s *site, _, _, code string) answer { return s.redeem(code) },
	}, func(s *site, replay func(s *site, first, second, code string) answer) {
		other, ofOther := s.first() // of another code for the same profile
		code := s.code(params())
		first := s.refreshed(s.redeem(code), ofOther)
		second := s.refreshed(s.refresh(first), ofOther)
		last := s.refreshed(s.refresh(second), ofOther)
		s.notRefreshed(replay(s, first, second, code), "invalid_grant")
		s.notRefreshed(s.refresh(last), "invalid_grant") // its family is revoked
		s.refreshed(s.refresh(other), ofOther)
	})
}

// A refusal for another reason does not revoke the family.
func TestRefreshTokensThatAreRefused(t *testing.T) {
	type refused struct {
		change func(token, id, proof string) string // nil: none
		sent   []string
		want   string
	}
	inSites(t, map[string]refused{
		"none":                      {func(_, _, _ string) string { return "" }, nil, "invalid_request"},
		"made up":                   {func(_, _, _ string) string { return "token" }, nil, "invalid_grant"},
		"cut off":                   {func(token, _, _ string) string { return token[:len(token)-1] }, nil, "invalid_grant"},
		"with more":                 {func(token, _, _ string) string { return token + ".x" }, nil, "invalid_grant"},
		"of another number":         {func(_, id, proof string) string { return id + ".1." + proof }, nil, "invalid_grant"},
		"of another family":         {func(_, _, proof string) string { return familyOf("other") + ".0." + proof }, nil, "invalid_grant"},
		"of another process":        {func(_, id, _ string) string { return newRefreshTokens(time.Now).write(id, 0) }, nil, "invalid_grant"},
		"too long":                  {func(token, _, _ string) string { return token + strings.Repeat("x", maxToken) }, nil, "invalid_grant"},
		"by another client":         {nil, []string{siteKey, "client_id=website"}, "invalid_grant"},
		"with another client's key": {nil, []string{siteKey}, "unauthorized_client"},
		"with another client_id":    {nil, []string{"client_id=website"}, "unauthorized_client"},
		"for more":                  {nil, []string{"scope=profile admin"}, "invalid_scope"},
		"for another grant":         {nil, []string{"grant_type=password"}, "unsupported_grant_type"},
	}, func(s *site, c refused) {
		token, profile := s.first()
		id, proof, _ := strings.Cut(token, ".0.")
		sent := token
		if c.change != nil {
			sent = c.change(token, id, proof)
		}
		s.notRefreshed(s.refresh(sent, c.sent...), c.want)
		s.refreshed(s.refresh(token, "scope=profile"), profile)
	})
}

// If one token is sent many times at once, one request succeeds, and the family is revoked.
func TestRefreshTokensComeAtOnce(t *testing.T) {
	s := newSite(t)
	token, _ := s.first()
	answers := make([]answer, 20)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = s.refresh(token) })
	}
	all.Wait()
	good := 0
	for _, a := range answers {
		if next, _ := a.object["refresh_token"].(string); next != "" {
			good++
			s.notRefreshed(s.refresh(next), "invalid_grant")
		}
	}
	if good != 1 {
		t.Errorf("%d were answered, want 1", good)
	}
}

// Without room, the JWT comes without a refresh token. Room comes back.
func TestRefreshTokensAreBounded(t *testing.T) {
	s := newSite(t)
	s.server.refreshTokens.max = 1
	token, profile := s.first()
	a := s.redeem(s.code(params()))
	if a.status != http.StatusOK || a.object["access_token"] == nil || a.object["refresh_token"] != nil {
		t.Errorf("without room: status %d, %s", a.status, a.body)
	}
	s.refreshed(s.refresh(token), profile)
	s.now = s.now.Add(refreshLifetime)
	s.first()
	if got := len(s.server.refreshTokens.families); got != 1 {
		t.Errorf("%d families are kept, want 1", got)
	}
}

// A replay can come before the first redemption has made the family.
func TestAReplayCanOvertake(t *testing.T) {
	s := newSite(t)
	r := s.server.refreshTokens
	r.revoke(familyOf("a code"))
	if token, err := r.issue(familyOf("a code"), family{client: "cli"}); err == nil {
		t.Errorf("the family began with %q", token)
	}
}
