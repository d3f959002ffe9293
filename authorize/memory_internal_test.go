package authorize

import (
	"fmt"
	"testing"
	"time"
)

// What a Memory keeps for itself cannot be seen from outside, but takes room.
func TestMemoryKeepsNothingOfWhatIsGone(t *testing.T) {
	ctx, now := t.Context(), testStart
	m := NewMemory(MemoryConfig{Now: func() time.Time { return now }})
	if m.maxCodes != 100_000 || m.maxConsents != 100_000 {
		t.Errorf("there is room for %d codes and %d consents", m.maxCodes, m.maxConsents)
	}
	check := func(rule string, codes, users int) {
		t.Helper()
		own := 0
		for subject, h := range m.codesOf {
			own += h.Len()
			for i, c := range h.codes {
				if c.Subject != subject || c.place[ofSubject] != i {
					t.Errorf("%s: code %d of %s is not in its place", rule, i, subject)
				}
			}
			if i := h.Len(); i < cap(h.codes) && h.codes[:i+1][i] != nil {
				t.Errorf("%s: a code of %s that is gone is kept alive", rule, subject)
			}
		}
		if i := m.expiry.Len(); i < cap(m.expiry.codes) && m.expiry.codes[:i+1][i] != nil {
			t.Errorf("%s: a code that is gone is kept alive", rule)
		}
		if len(m.codes) != codes || m.expiry.Len() != codes || own != codes || len(m.codesOf) != users {
			t.Errorf("%s: there are %d codes, %d expiries and %d codes of %d users, want %d of %d",
				rule, len(m.codes), m.expiry.Len(), own, len(m.codesOf), codes, users)
		}
	}
	save := func(i int) {
		t.Helper()
		code := &Code{Subject: fmt.Sprint("user", i%5), ExpiresAt: now.Add(time.Duration(i*7%20+1) * time.Minute)}
		if err := m.SaveCode(ctx, fmt.Sprint(i), code); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		save(i)
		check("codes come", i+1, min(i+1, 5))
	}
	now = now.Add(time.Hour)
	save(20)
	check("a step of codes has gone", 20+1-reclaimStep, 5)
	save(21)
	check("all that have expired have gone", 2, 2)

	for _, client := range []string{"a", "b"} {
		if err := m.SaveConsent(ctx, &ConsentRecord{Subject: "alice", ClientID: client}); err != nil {
			t.Fatal(err)
		}
	}
	for i, client := range []string{"a", "b"} {
		if err := m.DeleteConsent(ctx, "alice", client); err != nil {
			t.Fatal(err)
		}
		if got := len(m.consents); got != 1-i || m.consentCount != 1-i {
			t.Errorf("there are %d users with %d consents, want %d", got, m.consentCount, 1-i)
		}
	}
}
