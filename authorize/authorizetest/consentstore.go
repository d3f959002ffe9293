package authorizetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// TestConsentStore tests that a store keeps the contract of [authorize.ConsentStore], in one
// subtest for each rule. open returns the store for one subtest. It may return the same
// store every time, and the store may have records, because every subtest makes its own users.
func TestConsentStore(t *testing.T, open func(t *testing.T) authorize.ConsentStore) {
	t.Helper()
	testRules(t, consentRules, open)
}

var consentRules = []rule[authorize.ConsentStore]{
	{"a saved record is found with every field", consentRoundTrip},
	{"a minimal record is found unchanged", consentRoundTripOfLittle},
	{"a hundred scopes, resources and claims are kept in order", consentRoundTripOfMuch},
	{"an unknown record is nil, an empty list and no error to delete", consentUnknown},
	{"saving again replaces the record", consentReplace},
	{"concurrent calls never mix their records", consentRace},
	{"users and clients are compared as bytes", consentSimilar},
	{"hostile users and clients are unknown", consentHostile},
	{"users and clients may be 64 KiB of any bytes", consentBytes},
	{"a list has all of the user's records, ordered by the bytes of the client id", consentList},
	{"deleting a record leaves the others alone", consentDelete},
	{"what was saved is not shared with the caller", consentSavedCopy},
	{"what was returned is not shared with the store", consentReturnedCopy},
	{"a context that has ended is an error and changes nothing", consentContext},
}

// sampleConsent returns a record of a new user.
func sampleConsent() *authorize.ConsentRecord {
	return &authorize.ConsentRecord{
		Subject:        newKey() + awkward,
		ClientID:       `client ' " \ % _ {} ,`, // ids are printable ASCII
		Scopes:         []string{"openid", "a,b", "{c}", "https://api.example/read", "'", "openid2"},
		Resources:      []string{"https://api.example/", "urn:a,b"},
		IDTokenClaims:  []string{"name", "a,b " + awkward, "https://claims.example/c"},
		UserInfoClaims: []string{"email", "name", "", "phone_number"},
		RefusedScopes:  []string{"a,b", "'"},
		Data:           manyBytes(512),
		Revision:       awkward,
		GrantedAt:      roughlyNow(),
	}
}

// copyConsent returns a copy that shares no memory with the record. It does not use Clone of
// the record: then no rule here would see a field that Clone forgets.
func copyConsent(record *authorize.ConsentRecord) *authorize.ConsentRecord {
	c := *record
	for _, list := range []*[]string{&c.Scopes, &c.Resources, &c.IDTokenClaims, &c.UserInfoClaims, &c.RefusedScopes} {
		*list = slices.Clone(*list)
	}
	c.Data = slices.Clone(record.Data)
	return &c
}

func compareConsents(got, want *authorize.ConsentRecord) error {
	if got == nil {
		return errors.New("the record is not there")
	}
	var d difference
	d.text("Subject", got.Subject, want.Subject)
	d.text("ClientID", got.ClientID, want.ClientID)
	d.list("RefusedScopes", got.RefusedScopes, want.RefusedScopes)
	d.text("Data", string(got.Data), string(want.Data))
	d.text("Revision", got.Revision, want.Revision)
	d.list("Scopes", got.Scopes, want.Scopes)
	d.list("Resources", got.Resources, want.Resources)
	d.list("IDTokenClaims", got.IDTokenClaims, want.IDTokenClaims)
	d.list("UserInfoClaims", got.UserInfoClaims, want.UserInfoClaims)
	d.utc("GrantedAt", got.GrantedAt, want.GrantedAt)
	return d.error()
}

func saveConsents(ctx context.Context, s authorize.ConsentStore, records ...*authorize.ConsentRecord) error {
	for _, c := range records {
		if err := s.SaveConsent(ctx, copyConsent(c)); err != nil {
			return fmt.Errorf("SaveConsent: %w", err)
		}
	}
	return nil
}

// wantConsent checks that the store returns exactly this record.
func wantConsent(ctx context.Context, s authorize.ConsentStore, want *authorize.ConsentRecord) error {
	got, err := s.FindConsent(ctx, want.Subject, want.ClientID)
	if err := first(err, compareConsents(got, want)); err != nil {
		return fmt.Errorf("FindConsent: %w", err)
	}
	return nil
}

func wantNoConsent(ctx context.Context, s authorize.ConsentStore, subject, clientID string) error {
	got, err := s.FindConsent(ctx, subject, clientID)
	if err != nil {
		return fmt.Errorf("FindConsent: %w", err)
	}
	if got != nil {
		return fmt.Errorf("FindConsent of %.80q and %.80q found the record of %.80q and %.80q",
			subject, clientID, got.Subject, got.ClientID)
	}
	return nil
}

// wantConsents checks the list of a user. Without records it must be empty.
func wantConsents(
	ctx context.Context, s authorize.ConsentStore, subject string, want ...*authorize.ConsentRecord,
) error {
	got, err := s.ListConsents(ctx, subject)
	if err != nil {
		return fmt.Errorf("ListConsents: %w", err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("ListConsents returned %d records, want %d", len(got), len(want))
	}
	for i := range want {
		if err := compareConsents(got[i], want[i]); err != nil {
			return fmt.Errorf("ListConsents: record %d: %w", i, err)
		}
	}
	return nil
}

func consentRoundTrip(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	return first(saveConsents(ctx, s, c), wantConsent(ctx, s, c), wantConsents(ctx, s, c.Subject, c))
}

func consentRoundTripOfLittle(ctx context.Context, s authorize.ConsentStore) error {
	none, empty := sampleConsent(), sampleConsent()
	none.Scopes, none.Resources = nil, nil
	none.IDTokenClaims, none.UserInfoClaims = nil, nil
	empty.Scopes, empty.Resources = []string{}, []string{}
	empty.IDTokenClaims, empty.UserInfoClaims = []string{}, []string{}
	return first(saveConsents(ctx, s, none, empty), wantConsent(ctx, s, none), wantConsent(ctx, s, empty))
}

func consentRoundTripOfMuch(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	for i := range 100 {
		c.Scopes = append(c.Scopes, fmt.Sprint("https://api.example/scope/", 99-i))
		c.Resources = append(c.Resources, fmt.Sprint("https://api.example/resource/", 99-i))
		c.IDTokenClaims = append(c.IDTokenClaims, fmt.Sprint("claim", 99-i))
		c.UserInfoClaims = append(c.UserInfoClaims, fmt.Sprint("other claim", 99-i))
	}
	return first(saveConsents(ctx, s, c), wantConsent(ctx, s, c), wantConsents(ctx, s, c.Subject, c))
}

func consentUnknown(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	return first(
		wantNoConsent(ctx, s, c.Subject, c.ClientID),
		wantConsents(ctx, s, c.Subject),
		named("DeleteConsent", s.DeleteConsent(ctx, c.Subject, c.ClientID)),
	)
}

func consentReplace(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	fewer := copyConsent(c)
	fewer.Scopes, fewer.Resources = []string{"profile"}, nil
	fewer.IDTokenClaims, fewer.UserInfoClaims = nil, []string{"name"}
	fewer.GrantedAt = c.GrantedAt.Add(-time.Hour) // the last call counts, not the latest time
	return first(
		saveConsents(ctx, s, c, fewer),
		wantConsent(ctx, s, fewer),
		wantConsents(ctx, s, c.Subject, fewer),
	)
}

func consentRace(ctx context.Context, s authorize.ConsentStore) error {
	for range rounds {
		c := sampleConsent()
		records := make([]*authorize.ConsentRecord, takers)
		for i := range records {
			records[i] = copyConsent(c)
			records[i].Scopes = []string{fmt.Sprint("scope", i)}
			records[i].Resources = []string{fmt.Sprint("urn:resource:", i)}
			records[i].IDTokenClaims = []string{fmt.Sprint("claim", i)}
			records[i].UserInfoClaims = []string{fmt.Sprint("other claim", i)}
		}
		err := race(func(i int) error { return saveConsents(ctx, s, records[i]) })
		if err != nil {
			return err
		}
		listed, err := s.ListConsents(ctx, c.Subject)
		if err != nil || len(listed) != 1 {
			return fmt.Errorf("ListConsents returned %d records and the error %v, want one record", len(listed), err)
		}
		isListed := func(r *authorize.ConsentRecord) bool { return compareConsents(listed[0], r) == nil }
		if !slices.ContainsFunc(records, isListed) {
			return fmt.Errorf("the stored record is none of the saved ones: scopes %q, resources %q",
				listed[0].Scopes, listed[0].Resources)
		}
	}
	return nil
}

func consentSimilar(ctx context.Context, s authorize.ConsentStore) error {
	user := newKey()
	var all []*authorize.ConsentRecord
	// Pairs that are equal to a collation, to a store that trims, or to a store that
	// joins the two into one key.
	for _, pair := range [][2]string{
		{user + "alice", "wiki"}, {user + "Alice", "wiki"}, {user + "alice", "Wiki"}, {user + "alice ", "wiki"},
		{user + "alice", "wiki "}, {user + "alice", "wik"}, {user + "alicew", "iki"}, {user + "alice:w", "iki"},
		{user + "alice", "w:iki"}, {user + "alice:w:iki", "wiki"}, {user + "alice", "w:iki:wiki"},
		{user + "\u00e9", "wiki"}, {user + "e\u0301", "wiki"}, {user + "e", "wiki"},
		{user + "ß", "wiki"}, {user + "ss", "wiki"},
		{user + "alic_", "wiki"}, {user + "%", "%"}, {user, "alicewiki"},
	} {
		c := sampleConsent()
		c.Subject, c.ClientID, c.Scopes = pair[0], pair[1], []string{fmt.Sprint("scope", len(all))}
		if err := wantNoConsent(ctx, s, c.Subject, c.ClientID); err != nil {
			return err
		}
		if err := saveConsents(ctx, s, c); err != nil {
			return err
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := wantConsent(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

func consentHostile(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	c.Subject, c.ClientID = newKey(), newKey()
	if err := saveConsents(ctx, s, c); err != nil {
		return err
	}
	clients := hostileKeys(c.ClientID)
	for i, subject := range hostileKeys(c.Subject) {
		err := first(
			wantNoConsent(ctx, s, subject, c.ClientID),
			wantNoConsent(ctx, s, c.Subject, clients[i]),
			wantNoConsent(ctx, s, subject, clients[i]),
			wantConsents(ctx, s, subject),
			named("DeleteConsent", s.DeleteConsent(ctx, subject, c.ClientID)),
			named("DeleteConsent", s.DeleteConsent(ctx, c.Subject, clients[i])),
		)
		if err != nil {
			return fmt.Errorf("with %.80q and %.80q: %w", subject, clients[i], err)
		}
	}
	return first(wantConsent(ctx, s, c), wantConsents(ctx, s, c.Subject, c))
}

// consentBytes tests keys that only differ in their last byte.
func consentBytes(ctx context.Context, s authorize.ConsentStore) error {
	much := newKey() + string(manyBytes(64<<10))
	var all []*authorize.ConsentRecord
	for _, pair := range [][2]string{
		{much + "a", much + "a"}, {much + "a", much + "\xff"},
		{much + "\xff", much + "a"}, {much + "\xff", much + "\xff"},
	} {
		c := sampleConsent()
		c.Subject, c.ClientID, c.Scopes = pair[0], pair[1], []string{fmt.Sprint("scope", len(all))}
		c.IDTokenClaims, c.UserInfoClaims = []string{"\xff", "\x00", ""}, []string{"\xed\xa0\x80\x00"}
		all = append(all, c)
	}
	return first(
		saveConsents(ctx, s, all...),
		wantConsent(ctx, s, all[0]), wantConsent(ctx, s, all[1]),
		wantConsent(ctx, s, all[2]), wantConsent(ctx, s, all[3]),
		wantConsents(ctx, s, much+"a", all[0], all[1]),
		wantConsents(ctx, s, much),
		named("DeleteConsent", s.DeleteConsent(ctx, much+"a", much+"\xff")),
		wantConsents(ctx, s, much+"a", all[0]),
		wantConsents(ctx, s, much+"\xff", all[2], all[3]),
	)
}

func consentList(ctx context.Context, s authorize.ConsentStore) error {
	mine, other := newKey(), sampleConsent()
	var all []*authorize.ConsentRecord
	for _, id := range []string{"b", "a", "B", "10", "9", "a-b", "a_b", "ab", "A", "https://client.example/", "a b"} {
		c := sampleConsent()
		c.Subject, c.ClientID = mine, id
		all = append(all, c)
	}
	if err := saveConsents(ctx, s, append(all, other)...); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *authorize.ConsentRecord) int { return strings.Compare(a.ClientID, b.ClientID) })
	return first(wantConsents(ctx, s, mine, all...), wantConsents(ctx, s, other.Subject, other))
}

func consentDelete(ctx context.Context, s authorize.ConsentStore) error {
	c, sameClient := sampleConsent(), sampleConsent()
	sameUser := copyConsent(c)
	sameUser.ClientID = "another client"
	return first(
		saveConsents(ctx, s, c, sameClient, sameUser),
		named("DeleteConsent", s.DeleteConsent(ctx, c.Subject, c.ClientID)),
		wantNoConsent(ctx, s, c.Subject, c.ClientID),
		wantConsents(ctx, s, c.Subject, sameUser),
		wantConsent(ctx, s, sameUser),
		wantConsent(ctx, s, sameClient),
		named("DeleteConsent", s.DeleteConsent(ctx, c.Subject, c.ClientID)),
		saveConsents(ctx, s, c),
		wantConsent(ctx, s, c),
	)
}

// spoilConsent changes everything that a record would share with a shallow copy.
func spoilConsent(c *authorize.ConsentRecord) {
	c.GrantedAt = c.GrantedAt.Add(time.Hour)
	c.Scopes[0], c.Resources[0], c.IDTokenClaims[0], c.UserInfoClaims[0] = "x", "x", "x", "x"
	c.RefusedScopes[0], c.Data[0] = "x", c.Data[0]+1
}

func consentSavedCopy(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	given := copyConsent(c)
	if err := s.SaveConsent(ctx, given); err != nil {
		return fmt.Errorf("SaveConsent: %w", err)
	}
	if err := compareConsents(given, c); err != nil {
		return fmt.Errorf("SaveConsent changed what it was given: %w", err)
	}
	spoilConsent(given)
	return wantConsent(ctx, s, c)
}

func consentReturnedCopy(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	if err := saveConsents(ctx, s, c); err != nil {
		return err
	}
	found, err := s.FindConsent(ctx, c.Subject, c.ClientID)
	if err := first(err, compareConsents(found, c)); err != nil {
		return fmt.Errorf("FindConsent: %w", err)
	}
	spoilConsent(found)
	if err := wantConsent(ctx, s, c); err != nil {
		return fmt.Errorf("after a change to what FindConsent returned: %w", err)
	}
	if err := wantConsents(ctx, s, c.Subject, c); err != nil {
		return err
	}
	listed, err := s.ListConsents(ctx, c.Subject)
	if err != nil || len(listed) != 1 {
		return fmt.Errorf("ListConsents returned %d records and the error %v, want one record", len(listed), err)
	}
	spoilConsent(listed[0])
	if err := wantConsent(ctx, s, c); err != nil {
		return fmt.Errorf("after a change to what ListConsents returned: %w", err)
	}
	return nil
}

func consentContext(ctx context.Context, s authorize.ConsentStore) error {
	c := sampleConsent()
	if err := saveConsents(ctx, s, c); err != nil {
		return err
	}
	for want, ended := range endedContexts(ctx) {
		fresh, changed := sampleConsent(), copyConsent(c)
		changed.Scopes = []string{"everything"}
		_, findErr := s.FindConsent(ended, c.Subject, c.ClientID)
		_, listErr := s.ListConsents(ended, c.Subject)
		err := first(
			wantErrors(want, map[string]error{
				"SaveConsent of a new record": s.SaveConsent(ended, fresh),
				"SaveConsent":                 s.SaveConsent(ended, changed),
				"FindConsent":                 findErr,
				"ListConsents":                listErr,
				"DeleteConsent":               s.DeleteConsent(ended, c.Subject, c.ClientID),
			}),
			wantNoConsent(ctx, s, fresh.Subject, fresh.ClientID),
			wantConsents(ctx, s, c.Subject, c),
		)
		if err != nil {
			return err
		}
	}
	return nil
}
