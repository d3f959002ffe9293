package authorizetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize"
)

// TestClientStore tests that a store keeps the contract of [authorize.ClientStore], in one
// subtest for each rule. open returns a store that has these clients. It may return the
// same store every time, and the store may have more clients, because every subtest makes
// its own ids. No ID is given twice.
//
// The endpoint asks for ids of up to 2,048 bytes. The suite also asks for ids of any bytes
// and any length, for hosts that look up clients for other purposes.
func TestClientStore(t *testing.T, open func(t *testing.T, clients ...authorize.Client) authorize.ClientStore) {
	t.Helper()
	testRules(t, clientRules, func(t *testing.T) clientsOpener {
		return func(clients ...*authorize.Client) authorize.ClientStore {
			var given []authorize.Client
			for _, c := range clients {
				given = append(given, *copyClient(c))
			}
			return open(t, given...)
		}
	})
}

// clientsOpener opens a store that has the clients. The store gets copies.
type clientsOpener func(clients ...*authorize.Client) authorize.ClientStore

var clientRules = []rule[clientsOpener]{
	{"a client is found with every field", clientRoundTrip},
	{"each flag is kept by itself", clientFlags},
	{"a minimal client is found unchanged", clientRoundTripOfLittle},
	{"a nil list of response types or modes stays nil and an empty one empty", clientNilLists},
	{"a hundred redirect URIs and scopes are kept in order", clientRoundTripOfMuch},
	{"an unknown id is nil without an error", clientUnknown},
	{"ids are compared as bytes", clientSimilar},
	{"an id may have 2,048 bytes", clientLongID},
	{"hostile ids are unknown", clientHostile},
	{"each of concurrent calls gets its client", clientRace},
	{"what was returned is not shared with the store", clientReturnedCopy},
	{"a context that has ended is an error", clientContext},
}

// sampleClient returns a client with a new id. Every field but Unvetted is set: a store that
// checks clients refuses one that is both Unvetted and FirstParty.
func sampleClient() *authorize.Client {
	c := &authorize.Client{
		ID:            "client-" + newKey(),
		Name:          "name " + awkward,
		Revision:      "revision " + awkward,
		RedirectURIs:  []string{"https://client.example/cb?a=%20b&c='", "http://127.0.0.1/cb", "com.example.app:/cb"},
		OutOfBand:     authorize.OutOfBandAuto,
		Scopes:        []string{"openid", "a,b", "{c}", "https://api.example/read", "'"},
		DefaultScopes: []string{"{c}", "a,b"},
		ResponseTypes: []string{"none", "code"},
		ResponseModes: []string{"fragment", "query"},
		Require:       []string{"state", "nonce"},
	}
	eachClientField(c, func(name string, field any) {
		switch field := field.(type) {
		case *bool:
			*field = name != "Unvetted"
		case *[]string:
			if *field == nil {
				*field = []string{"two", "one"}
			}
		}
	})
	return c
}

// namedFlag is one of a client's fields that are true or false.
type namedFlag struct {
	name string
	flag *bool
}

func clientFlagsOf(c *authorize.Client) []namedFlag {
	var flags []namedFlag
	eachClientField(c, func(name string, field any) {
		if flag, ok := field.(*bool); ok {
			flags = append(flags, namedFlag{name, flag})
		}
	})
	return flags
}

// eachClientField calls f with the name of every field and a pointer to it. So new fields of
// the Client are tested too.
func eachClientField(c *authorize.Client, f func(name string, field any)) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		f(v.Type().Field(i).Name, v.Field(i).Addr().Interface())
	}
}

// copyClient returns a copy that shares no memory with the client.
func copyClient(c *authorize.Client) *authorize.Client {
	clone := *c
	eachClientField(&clone, func(_ string, field any) {
		if list, ok := field.(*[]string); ok {
			*list = slices.Clone(*list)
		}
	})
	return &clone
}

func compareClients(got, want *authorize.Client) error {
	if got == nil {
		return errors.New("the client is not there")
	}
	wanted := map[string]any{}
	eachClientField(want, func(name string, field any) { wanted[name] = field })
	var d difference
	eachClientField(got, func(name string, field any) {
		switch field := field.(type) {
		case *string:
			d.text(name, *field, *wanted[name].(*string))
		case *bool:
			d.flag(name, *field, *wanted[name].(*bool))
		case *[]string:
			d.list(name, *field, *wanted[name].(*[]string))
		default:
			panic(fmt.Sprintf("authorizetest: no comparison for a %T, which is Client.%s", field, name))
		}
	})
	d.flag("ResponseTypes is nil", got.ResponseTypes == nil, want.ResponseTypes == nil)
	d.flag("ResponseModes is nil", got.ResponseModes == nil, want.ResponseModes == nil)
	return d.error()
}

// wantClients checks that the store returns exactly these clients.
func wantClients(ctx context.Context, s authorize.ClientStore, want ...*authorize.Client) error {
	for _, c := range want {
		got, err := s.Client(ctx, c.ID)
		if err := first(err, compareClients(got, c)); err != nil {
			return fmt.Errorf("Client(%.80q): %w", c.ID, err)
		}
	}
	return nil
}

func wantNoClient(ctx context.Context, s authorize.ClientStore, ids ...string) error {
	for _, id := range ids {
		got, err := s.Client(ctx, id)
		if err != nil {
			return fmt.Errorf("Client(%.80q, of %d bytes): %w", id, len(id), err)
		}
		if got != nil {
			return fmt.Errorf("Client(%.80q, of %d bytes) found the client %.80q, want none", id, len(id), got.ID)
		}
	}
	return nil
}

func clientRoundTrip(ctx context.Context, open clientsOpener) error {
	one, two := sampleClient(), sampleClient()
	two.Name, two.OutOfBand, two.RedirectURIs = "two", "urn:two", []string{"https://two.example/"}
	return wantClients(ctx, open(one, two), one, two, one)
}

func clientFlags(ctx context.Context, open clientsOpener) error {
	var clients []*authorize.Client
	for i := range clientFlagsOf(&authorize.Client{}) {
		c := sampleClient()
		for j, x := range clientFlagsOf(c) {
			*x.flag = i == j
		}
		clients = append(clients, c)
	}
	return wantClients(ctx, open(clients...), clients...)
}

func clientRoundTripOfLittle(ctx context.Context, open clientsOpener) error {
	none, empty := &authorize.Client{ID: newKey()}, &authorize.Client{ID: newKey()}
	empty.RedirectURIs, empty.Scopes = []string{}, []string{}
	empty.DefaultScopes, empty.Require = []string{}, []string{}
	return wantClients(ctx, open(none, empty), none, empty)
}

// clientNilLists tests the lists in which nil means a default and empty means none.
func clientNilLists(ctx context.Context, open clientsOpener) error {
	code, none := sampleClient(), sampleClient()
	code.ResponseTypes, none.ResponseTypes = nil, []string{}
	some, silent := sampleClient(), sampleClient()
	some.ResponseModes, silent.ResponseModes = nil, []string{}
	return wantClients(ctx, open(code, none, some, silent), code, none, some, silent)
}

func clientRoundTripOfMuch(ctx context.Context, open clientsOpener) error {
	c := sampleClient()
	for i := range 100 {
		c.Scopes = append(c.Scopes, fmt.Sprint("https://api.example/scope/", 99-i))
		c.RedirectURIs = append(c.RedirectURIs, fmt.Sprint("https://client.example/cb/", 99-i))
	}
	return wantClients(ctx, open(c), c)
}

func clientUnknown(ctx context.Context, open clientsOpener) error {
	c := sampleClient()
	return first(
		wantNoClient(ctx, open(c), newKey(), "client-"+newKey(), "client-"),
		wantNoClient(ctx, open(), newKey()))
}

// clientSimilar tests ids that are equal to a collation, or to a store that trims.
func clientSimilar(ctx context.Context, open clientsOpener) error {
	base := newKey() + "é e\u0301 ss"
	ids := []string{
		base, strings.ToUpper(base), strings.ToLower(base), base + " ", " " + base, "%" + base, base + "%",
		strings.ReplaceAll(base, "é", "e\u0301"), strings.ReplaceAll(base, "é", "e"),
		strings.ReplaceAll(base, "ss", "ß"),
	}
	var clients []*authorize.Client
	for _, id := range ids {
		c := sampleClient()
		c.ID, c.Name = id, "the client with the id "+id
		clients = append(clients, c)
	}
	return first(
		wantNoClient(ctx, open(clients[0]), ids[1:]...),
		wantNoClient(ctx, open(), similarKeys(base[:len(newKey())])...),
		wantClients(ctx, open(clients[1:]...), clients...),
	)
}

func clientLongID(ctx context.Context, open clientsOpener) error {
	one, two := sampleClient(), sampleClient()
	long := newKey() + strings.Repeat("ß", 1002) // 2,047 bytes
	one.ID, two.ID, two.Name = long+"1", long+"2", "two"
	return first(
		wantNoClient(ctx, open(one), two.ID),
		wantClients(ctx, open(two), one, two),
		wantNoClient(ctx, open(), long, long+"1x"),
	)
}

func clientHostile(ctx context.Context, open clientsOpener) error {
	c := sampleClient()
	s := open(c)
	return first(wantNoClient(ctx, s, hostileKeys(c.ID)...), wantClients(ctx, s, c))
}

func clientRace(ctx context.Context, open clientsOpener) error {
	clients := make([]*authorize.Client, takers)
	for i := range clients {
		clients[i] = sampleClient()
		clients[i].Name = fmt.Sprint("client ", i)
		clients[i].Scopes[3] = fmt.Sprint("scope", i) // none of the default ones
	}
	s := open(clients...)
	return race(func(i int) error {
		return first(wantClients(ctx, s, clients[i]), wantNoClient(ctx, s, newKey()), wantClients(ctx, s, clients[i]))
	})
}

func clientReturnedCopy(ctx context.Context, open clientsOpener) error {
	c := sampleClient()
	s := open(c)
	found, err := s.Client(ctx, c.ID)
	if err := first(err, compareClients(found, c)); err != nil {
		return fmt.Errorf("Client: %w", err)
	}
	found.Disabled, found.Name = false, "x"
	eachClientField(found, func(_ string, field any) {
		if list, ok := field.(*[]string); ok {
			(*list)[0] = "x"
		}
	})
	return wantClients(ctx, s, c)
}

func clientContext(ctx context.Context, open clientsOpener) error {
	c := sampleClient()
	s := open(c)
	for want, ended := range endedContexts(ctx) {
		_, known := s.Client(ended, c.ID)
		_, unknown := s.Client(ended, newKey())
		_, hostile := s.Client(ended, strings.Repeat("x", 64<<10))
		err := wantErrors(want, map[string]error{
			"Client":                  known,
			"Client of an unknown id": unknown,
			"Client of a long id":     hostile,
		})
		if err != nil {
			return err
		}
	}
	return wantClients(ctx, s, c)
}
