package authorize

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/usher-auth/usher/authorize/internal/destination"
	oautherr "github.com/usher-auth/usher/errors"
)

// approve issues a code, or nothing for response_type=none. The code has 256 random bits,
// too many to guess (RFC 6749 §10.10).
func (h *Handler) approve(v *visit) error {
	v.approved = true
	if v.request.ResponseType == "none" {
		return nil
	}
	r, s, now := v.request, v.session, millis(v.started)
	record := &Code{
		ClientID:        r.ClientID,
		RedirectURI:     r.RedirectURI,
		RedirectURISent: r.redirectURISent,
		Challenge:       r.CodeChallenge,
		Resources:       r.Resources,
		Subject:         s.Subject,
		AuthTime:        millis(s.AuthTime),
		ACR:             s.ACR,
		AMR:             slices.Clone(s.AMR),
		Nonce:           r.Nonce,
		Scopes:          r.Scopes,
		SessionID:       s.ID,
		SessionData:     slices.Clone(s.Data),
		GrantData:       slices.Clone(r.GrantData),
		IssuedAt:        now,
		ExpiresAt:       now.Add(h.config.CodeLifetime),
	}
	if v.resumed != nil || v.remembered != nil || slices.Contains(r.Scopes, "offline_access") {
		record.Scopes, v.leftOut = grantedScopes(v)
	}
	if r.Claims != nil {
		record.Claims = agreedClaims(r, record.Scopes)
	}
	if h.config.Parameters != nil {
		record.Parameters = h.ownParameters(r)
	}
	if len(record.Scopes) == 0 {
		return oautherr.InvalidScope.Because(
			errors.New("the request no longer asks for any of the scopes that the user granted"))
	}
	ctx, random := v.http.Context(), make([]byte, 32)
	rand.Read(random)
	code := base64.RawURLEncoding.EncodeToString(random)
	// The issuer is part of the key, so that endpoints that share a store do not share
	// codes.
	key := hash(h.config.Issuer + " " + code)
	record.GrantID = hash("grant " + key)[:22]
	if err := hostError(ctx, "CodeStore.SaveCode", h.config.Codes.SaveCode(ctx, key, record)); err != nil {
		return err
	}
	v.granted, v.grantID, v.response = record.Scopes, record.GrantID, []destination.Param{{Name: "code", Value: code}}
	return nil
}

// ownParameters are the parameters of Config.Parameters that the request has. Nil: none.
func (h *Handler) ownParameters(r *Request) map[string]string {
	var values map[string]string
	for _, name := range h.config.Parameters {
		if value := r.params.get(name); value != "" {
			if values == nil {
				values = map[string]string{}
			}
			values[name] = value
		}
	}
	return values
}

// hash returns what is stored in place of a secret: its SHA-256 in 43 characters of
// base64url.
func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// millis returns the time in UTC and whole milliseconds, as records have it.
func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
