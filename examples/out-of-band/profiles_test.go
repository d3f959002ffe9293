package main

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/pkce"
)

// A client that sends its request many times at once has one profile.
func TestOneProfileForEachRequest(t *testing.T) {
	s := newSite(t)
	const requests, times = 10, 20
	codes := make([][]string, requests)
	var all sync.WaitGroup
	for i := range requests {
		codes[i] = make([]string, times)
		for j := range times {
			all.Go(func() {
				a := s.get(params("state=" + strconv.Itoa(i)))
				codes[i][j], _ = a.object["code"].(string)
			})
		}
	}
	all.Wait()
	s.profiles(requests)
	profiles, seen := map[string]bool{}, map[string]bool{}
	for i := range requests {
		_, first := s.token(codes[i][0])
		profiles[first] = true
		for _, code := range codes[i][1:] {
			if seen[code] {
				t.Errorf("two answers have the code %s", code)
			}
			seen[code] = true
			if _, other := s.token(code); other != first {
				t.Errorf("request %d has the profiles %s and %s", i, first, other)
			}
		}
	}
	if len(profiles) != requests {
		t.Errorf("there are %d profiles for %d requests", len(profiles), requests)
	}
}

// Requests with the same client, state and challenge are the same.
func TestTheSameRequest(t *testing.T) {
	type again struct {
		ask  func(s *site) answer
		want int // profiles
	}
	inSites(t, map[string]again{
		"as it was":                          {func(s *site) answer { return s.get(params()) }, 1},
		"by POST":                            {func(s *site) answer { return s.send("POST", path, params().Encode()) }, 1},
		"with a parameter that nobody knows": {func(s *site) answer { return s.get(params("x=y")) }, 1},
		"just before it is forgotten":        {func(s *site) answer { s.now = s.now.Add(retryWindow - time.Second); return s.get(params()) }, 1},
		"when it is forgotten":               {func(s *site) answer { s.now = s.now.Add(retryWindow); return s.get(params()) }, 2},
		"with another state":                 {func(s *site) answer { return s.get(params("state=other")) }, 2},
		"with another challenge":             {func(s *site) answer { return s.get(params("code_challenge=" + pkce.Challenge(pkce.NewVerifier()))) }, 2},
		"of another client":                  {func(s *site) answer { return s.get(byWebsite(), siteKey) }, 2},
	}, func(s *site, c again) {
		s.code(params())
		if a := c.ask(s); a.status != http.StatusOK && a.status != http.StatusFound {
			s.t.Errorf("status %d, %s", a.status, a.body)
		}
		s.profiles(c.want)
	})
}

func TestProfilesAreBounded(t *testing.T) {
	s := newSite(t)
	s.server.profiles.max = 2
	first, id := s.token(s.code(params("state=1")))
	s.now = s.now.Add(time.Minute)
	s.code(params("state=2"))

	full := s.get(params("state=3"))
	if full.status != http.StatusServiceUnavailable || full.object["error"] != "temporarily_unavailable" {
		t.Errorf("a third one: status %d, %s", full.status, full.body)
	}
	s.unreadable(full)
	s.profiles(2)
	s.code(params("state=2"))                          // a retry needs no room
	s.code(params("state=4"), "x-profile-jwt: "+first) // a token needs none either
	s.now = s.now.Add(profileLifetime - time.Second)
	if a := s.get(params("state=5")); a.status != http.StatusServiceUnavailable {
		t.Errorf("one that a token can still lead to gave way: status %d, %s", a.status, a.body)
	}
	s.now = s.now.Add(time.Second)
	if _, other := s.token(s.code(params("state=1"))); other == id {
		t.Errorf("the profile %s is back", id)
	}
	if got := len(s.server.profiles.made); got != 1 {
		t.Errorf("%d requests are remembered, want 1", got)
	}
}

// A profile lasts until the last possible token for it has expired.
func TestProfilesLastAsLongAsTheirTokens(t *testing.T) {
	inSites(t, map[string]func(s *site) (code string){
		"of a new one": func(s *site) string { return s.code(params()) },
		"of a request that came again": func(s *site) string {
			s.code(params())
			s.now = s.now.Add(retryWindow - time.Second)
			return s.code(params())
		},
		"of a token": func(s *site) string {
			first, _ := s.token(s.code(params()))
			s.now = s.now.Add(tokenLifetime - time.Second)
			return s.code(params(), "x-profile-jwt: "+first)
		},
	}, func(s *site, code func(s *site) string) {
		s.server.profiles.max = 1
		last := code(s)
		s.now = s.now.Add(codeLifetime - time.Second)
		token, id := s.token(last)
		s.now = s.now.Add(tokenLifetime - time.Second)
		if full := s.get(params("state=other")); full.status != http.StatusServiceUnavailable {
			s.t.Errorf("it gave way: status %d, %s", full.status, full.body)
		}
		if _, again := s.token(s.code(params(), "x-profile-jwt: "+token)); again != id {
			s.t.Errorf("%s became %s", id, again)
		}
		s.now = s.now.Add(profileLifetime)
		if s.server.profiles.keep(id) {
			s.t.Error("it is still there")
		}
	})
}

// If a request fails after its profile was made, a retry gets this profile.
func TestARetryAfterAFailureHasTheSameProfile(t *testing.T) {
	s := newSite(t)
	config := s.server.config()
	codes := &full{CodeStore: config.Codes, full: true}
	config.Codes = codes
	var err error
	if s.server.endpoint, err = authorize.New(config); err != nil {
		t.Fatal(err)
	}
	s.handler = s.server.routes()
	if a := s.get(params()); a.status != http.StatusServiceUnavailable || a.object["error"] != "server_error" {
		t.Errorf("status %d, %s", a.status, a.body)
	}
	s.profiles(1)
	codes.full = false
	s.token(s.code(params()))
	s.profiles(1)
}

// full is a store of codes that can be set to be full.
type full struct {
	authorize.CodeStore
	full bool
}

func (f *full) SaveCode(ctx context.Context, hash string, code *authorize.Code) error {
	if f.full {
		return authorize.ErrFull
	}
	return f.CodeStore.SaveCode(ctx, hash, code)
}
