package authorizetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// sampleCode returns a code with something in every field that the handler sets.
func sampleCode() *authorize.Code {
	now := roughlyNow()
	return &authorize.Code{
		ClientID:        "client " + awkward,
		RedirectURI:     "https://client.example/cb?a=%20b&c='\";",
		RedirectURISent: true,
		Challenge:       newKey(),
		Scopes:          []string{"openid", "a,b", "{c}", "https://api.example/read", "'"},
		Resources:       []string{"https://api.example/", "urn:a,b"},
		Subject:         "subject " + awkward,
		AuthTime:        now.Add(-time.Hour - time.Millisecond),
		ACR:             "urn:acr " + awkward,
		AMR:             []string{"pwd", "otp", "a,b"},
		Nonce:           "nonce " + awkward,
		Claims:          json.RawMessage(`{ "id_token" : {"b":null,"a":1e3 , "a":"é\u0000"} } `),
		Parameters:      map[string]string{"device": "tv " + awkward, "name " + awkward: "", "": "b"},
		SessionID:       "session " + awkward,
		SessionData:     manyBytes(512),
		GrantID:         "grant " + awkward,
		GrantData:       manyBytes(512),

		GrantedResources: []string{"urn:a,b", "https://api.example/"},
		IssuedAt:         now,
		ExpiresAt:        now.Add(10*time.Minute + time.Millisecond),
	}
}

// copyCode returns a copy that shares no memory with the code. It does not use Clone of the
// code: then no rule here would see a field that Clone forgets.
func copyCode(code *authorize.Code) *authorize.Code {
	c := *code
	for _, list := range []*[]string{&c.Scopes, &c.Resources, &c.GrantedResources, &c.AMR} {
		*list = slices.Clone(*list)
	}
	c.Claims, c.SessionData = slices.Clone(code.Claims), slices.Clone(code.SessionData)
	c.GrantData = slices.Clone(code.GrantData)
	c.Parameters = maps.Clone(code.Parameters)
	return &c
}

func compareCodes(got, want *authorize.Code) error {
	if got == nil {
		return errors.New("the code is not there")
	}
	var d difference
	d.text("ClientID", got.ClientID, want.ClientID)
	d.text("RedirectURI", got.RedirectURI, want.RedirectURI)
	d.flag("RedirectURISent", got.RedirectURISent, want.RedirectURISent)
	d.text("Challenge", got.Challenge, want.Challenge)
	d.list("Scopes", got.Scopes, want.Scopes)
	d.list("Resources", got.Resources, want.Resources)
	d.text("Subject", got.Subject, want.Subject)
	d.utc("AuthTime", got.AuthTime, want.AuthTime)
	d.text("ACR", got.ACR, want.ACR)
	d.list("AMR", got.AMR, want.AMR)
	d.text("Nonce", got.Nonce, want.Nonce)
	d.text("Claims", string(got.Claims), string(want.Claims))
	d.texts("Parameters", got.Parameters, want.Parameters)
	d.text("SessionID", got.SessionID, want.SessionID)
	d.text("SessionData", string(got.SessionData), string(want.SessionData))
	d.list("GrantedResources", got.GrantedResources, want.GrantedResources)
	d.text("GrantID", got.GrantID, want.GrantID)
	d.text("GrantData", string(got.GrantData), string(want.GrantData))
	d.utc("IssuedAt", got.IssuedAt, want.IssuedAt)
	d.utc("ExpiresAt", got.ExpiresAt, want.ExpiresAt)
	d.utc("UsedAt", got.UsedAt, want.UsedAt)
	return d.error()
}

func saveCode(ctx context.Context, s authorize.CodeStore, hash string, code *authorize.Code) error {
	if err := s.SaveCode(ctx, hash, copyCode(code)); err != nil {
		return fmt.Errorf("SaveCode: %w", err)
	}
	return nil
}

// wantCode checks which code is stored under the hash. nil means none.
func wantCode(ctx context.Context, s authorize.CodeStore, hash string, want *authorize.Code) error {
	got, err := s.FindCode(ctx, hash)
	switch {
	case err != nil:
		return fmt.Errorf("FindCode: %w", err)
	case want == nil && got != nil:
		return errors.New("FindCode found a code where there should be none")
	case want == nil:
		return nil
	}
	if err := compareCodes(got, want); err != nil {
		return fmt.Errorf("FindCode: %w", err)
	}
	return nil
}

// wantTake takes a code and checks the results. nil means no code.
func wantTake(
	ctx context.Context, s authorize.CodeStore, hash string, at time.Time, want *authorize.Code, taken bool,
) error {
	got, won, err := s.TakeCode(ctx, hash, at)
	switch {
	case err != nil:
		return fmt.Errorf("TakeCode: %w", err)
	case won != taken:
		return fmt.Errorf("TakeCode returned taken = %t, want %t", won, taken)
	case want == nil && got != nil:
		return errors.New("TakeCode returned a code where there should be none")
	case want == nil:
		return nil
	}
	if err := compareCodes(got, want); err != nil {
		return fmt.Errorf("TakeCode: %w", err)
	}
	return nil
}

// used returns a copy of the code with the time of its use.
func used(code *authorize.Code, at time.Time) *authorize.Code {
	code = copyCode(code)
	code.UsedAt = at
	return code
}

// spoil changes everything that a code would share with a shallow copy.
func spoil(code *authorize.Code) {
	code.Subject, code.UsedAt = "mallory", code.IssuedAt
	code.Scopes[0], code.Resources[0], code.AMR[0] = "x", "x", "x"
	code.Claims[0], code.SessionData[0] = 'x', code.SessionData[0]+1
	code.GrantedResources[0], code.GrantData[0] = "x", code.GrantData[0]+1
	code.Parameters["device"], code.Parameters["more"] = "x", "x"
}
