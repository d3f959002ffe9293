package authorizetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize"
)

// clients is a client store with one fault.
type clients struct {
	mu    sync.Mutex
	byID  map[string]*authorize.Client
	last  *authorize.Client // what is being returned, where that is shared
	fault string
}

func (s *clients) key(id string) string {
	switch s.fault {
	case "ignores case":
		return strings.ToLower(id)
	case "trims":
		return strings.TrimSpace(id)
	case "composes":
		return strings.ReplaceAll(id, "e\u0301", "é")
	case "ends ids at NUL":
		id, _, _ = strings.Cut(id, "\x00")
	case "puts ids into its statements":
		id, _, _ = strings.Cut(id, "'")
	case "skips what is no UTF-8":
		return strings.ToValidUTF8(id, "")
	case "cuts ids off":
		return id[:min(len(id), 2047)]
	}
	return id
}

// put keeps the client as the fault has it.
func (s *clients) put(c *authorize.Client) {
	switch s.fault {
	case "loses the name":
		c.Name = ""
	case "joins the scopes with commas":
		c.Scopes = strings.Split(strings.Join(c.Scopes, ","), ",")
	case "sorts":
		slices.Sort(c.ResponseTypes)
	case "has one flag for two":
		c.RequirePushed = c.RequirePushed || c.AnyLoopbackPort
	case "trusts nobody":
		c.FirstParty = false
	case "makes nothing one":
		c.Require = strings.Split(strings.Join(c.Require, " "), " ")
	case "has a default":
		c.DefaultScopes = append(c.DefaultScopes, c.Scopes[:min(len(c.Scopes), 1)]...)
		if c.Name == "" {
			c.Name = c.ID
		}
	case "takes an empty list for none":
		if len(c.ResponseTypes) == 0 {
			c.ResponseTypes = nil
		}
	case "takes an empty list of modes for none":
		if len(c.ResponseModes) == 0 {
			c.ResponseModes = nil
		}
	case "takes no list of modes for an empty one":
		if c.ResponseModes == nil {
			c.ResponseModes = []string{}
		}
	case "takes none for an empty list":
		if c.ResponseTypes == nil {
			c.ResponseTypes = []string{}
		}
	case "keeps fifty":
		c.RedirectURIs = c.RedirectURIs[:min(len(c.RedirectURIs), 50)]
	case "cuts off what is long":
		if text, _ := json.Marshal(c.Scopes); len(text) > 2000 {
			c.Scopes = c.Scopes[:20]
		}
	}
	s.byID[s.key(c.ID)] = c
}

func (s *clients) Client(ctx context.Context, id string) (*authorize.Client, error) {
	if s.fault != "ignores the context" && (s.fault != "looks at the context when it finds nothing" || s.byID[id] == nil) && ctx.Err() != nil {
		if s.fault == "has an error of its own for a context that has ended" {
			return nil, errors.New("timeout")
		}
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byID[s.key(id)]
	switch {
	case s.fault == "finds an error for bytes" && !utf8.ValidString(id), s.fault == "finds an error for a long id" && len(id) > 60_000:
		return nil, errors.New("it does not fit the column")
	case found == nil && s.fault == "finds an error":
		return nil, errors.New("no rows")
	case found == nil && s.fault == "finds an empty client":
		return &authorize.Client{}, nil
	case found == nil:
		return nil, nil
	case s.fault == "returns what it keeps":
		return found, nil
	case s.fault == "has room for one":
		*s.last = *copyClient(found)
		s.mu.Unlock()
		yieldOften()
		s.mu.Lock()
		return copyClient(s.last), nil
	}
	return copyClient(found), nil
}

func TestTheClientRulesFindEveryFault(t *testing.T) {
	// The suite opens a store several times for one subtest: it may be one store.
	open := func(fault string) func() clientsOpener {
		return func() clientsOpener {
			s := &clients{byID: map[string]*authorize.Client{}, last: &authorize.Client{}, fault: fault}
			return func(given ...*authorize.Client) authorize.ClientStore {
				for _, c := range given {
					s.put(copyClient(c))
				}
				return s
			}
		}
	}
	const (
		everyField = "a client is found with every field"
		nilLists   = "a nil list of response types or modes stays nil and an empty one empty"
		unknown    = "an unknown id is nil without an error"
		bytes      = "ids are compared as bytes"
		hostile    = "hostile ids are unknown"
		ended      = "a context that has ended is an error"
	)
	var stores []broken[clientsOpener]
	for _, c := range []struct{ fault, rule string }{
		{"loses the name", everyField},
		{"joins the scopes with commas", everyField},
		{"sorts", everyField},
		{"trusts nobody", everyField},
		{"has one flag for two", "each flag is kept by itself"},
		{"makes nothing one", "a minimal client is found unchanged"},
		{"has a default", "a minimal client is found unchanged"},
		{"takes an empty list for none", nilLists},
		{"takes none for an empty list", nilLists},
		{"takes an empty list of modes for none", nilLists},
		{"takes no list of modes for an empty one", nilLists},
		{"keeps fifty", "a hundred redirect URIs and scopes are kept in order"},
		{"cuts off what is long", "a hundred redirect URIs and scopes are kept in order"},
		{"finds an error", unknown},
		{"finds an empty client", unknown},
		{"ignores case", bytes},
		{"trims", bytes},
		{"composes", bytes},
		{"cuts ids off", "an id may have 2,048 bytes"},
		{"ends ids at NUL", hostile},
		{"puts ids into its statements", hostile},
		{"skips what is no UTF-8", hostile},
		{"finds an error for bytes", hostile},
		{"finds an error for a long id", hostile},
		{"has room for one", "each of concurrent calls gets its client"},
		{"returns what it keeps", "what was returned is not shared with the store"},
		{"ignores the context", ended},
		{"looks at the context when it finds nothing", ended},
		{"has an error of its own for a context that has ended", ended},
	} {
		stores = append(stores, broken[clientsOpener]{c.fault, open(c.fault), c.rule})
	}
	testBroken(t, clientRules, open(""), stores)
}
