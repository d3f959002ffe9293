// Package record is how the stores that come with this module write what they keep: as
// JSON that a person can read, in which every byte and every time survives.
//
// What a store changes on its own is not in it, and comes back as zero: [authorize.Code].UsedAt,
// and LastSeenAt and ExpiresAt of a [session.Record]. Stores keep those beside it. Members
// that are not known are ignored, so that replicas of two versions can share a store.
package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// text is a string that keeps its bytes. In JSON it is a string or, where it is not
// UTF-8, an array of one string, which is its base64.
type text string

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal([][]byte{[]byte(t)})
}

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, (*string)(t))
	}
	var encoded []string
	if err := json.Unmarshal(b, &encoded); err != nil {
		return err
	}
	if len(encoded) != 1 {
		return errors.New("a text is an array of one string")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded[0])
	*t = text(raw)
	return err
}

func texts(list []string) []text {
	if len(list) == 0 {
		return nil
	}
	out := make([]text, len(list))
	for i, s := range list {
		out[i] = text(s)
	}
	return out
}

func fromTexts(list []text) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = string(t)
	}
	return out
}

// parameter is one value of a request, by its name.
type parameter struct {
	Name  text `json:"name"`
	Value text `json:"value"`
}

// parameters writes a map as a list, because the names of an object's members would not
// keep their bytes. It is in the order of the names.
func parameters(m map[string]string) []parameter {
	var out []parameter
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, parameter{text(name), text(m[name])})
	}
	return out
}

func fromParameters(list []parameter) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]string, len(list))
	for _, p := range list {
		out[string(p.Name)] = string(p.Value)
	}
	return out
}

// millis and micros are times as numbers since 1970; nil is the zero time.
func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixMilli()
	return &n
}

func fromMillis(n *int64) time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.UnixMilli(*n).UTC()
}

func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixMicro()
	return &n
}

func fromMicros(n *int64) time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.UnixMicro(*n).UTC()
}

// code has times in milliseconds.
type code struct {
	ClientID        text        `json:"client_id"`
	RedirectURI     text        `json:"redirect_uri"`
	RedirectURISent bool        `json:"redirect_uri_sent,omitempty"`
	Challenge       text        `json:"code_challenge,omitempty"`
	Scopes          []text      `json:"scopes,omitempty"`
	Resources       []text      `json:"resources,omitempty"`
	Subject         text        `json:"sub"`
	AuthTime        *int64      `json:"auth_time,omitempty"`
	ACR             text        `json:"acr,omitempty"`
	AMR             []text      `json:"amr,omitempty"`
	Nonce           text        `json:"nonce,omitempty"`
	Claims          *text       `json:"claims,omitempty"`
	Parameters      []parameter `json:"parameters,omitempty"`
	SessionID       text        `json:"sid,omitempty"`
	Data            []byte      `json:"data,omitempty"`
	IssuedAt        *int64      `json:"issued_at,omitempty"`
	ExpiresAt       *int64      `json:"expires_at,omitempty"`
}

// EncodeCode writes everything but UsedAt.
func EncodeCode(c *authorize.Code) ([]byte, error) {
	kept := code{
		ClientID:        text(c.ClientID),
		RedirectURI:     text(c.RedirectURI),
		RedirectURISent: c.RedirectURISent,
		Challenge:       text(c.Challenge),
		Scopes:          texts(c.Scopes),
		Resources:       texts(c.Resources),
		Subject:         text(c.Subject),
		AuthTime:        millis(c.AuthTime),
		ACR:             text(c.ACR),
		AMR:             texts(c.AMR),
		Nonce:           text(c.Nonce),
		Parameters:      parameters(c.Parameters),
		SessionID:       text(c.SessionID),
		Data:            c.Data,
		IssuedAt:        millis(c.IssuedAt),
		ExpiresAt:       millis(c.ExpiresAt),
	}
	if c.Claims != nil {
		// As a text, because JSON inside of JSON would lose its white space.
		claims := text(c.Claims)
		kept.Claims = &claims
	}
	return json.Marshal(kept)
}

// DecodeCode reads what EncodeCode wrote.
func DecodeCode(b []byte) (*authorize.Code, error) {
	var kept code
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("the record of a code cannot be read: %w", err)
	}
	c := &authorize.Code{
		ClientID:        string(kept.ClientID),
		RedirectURI:     string(kept.RedirectURI),
		RedirectURISent: kept.RedirectURISent,
		Challenge:       string(kept.Challenge),
		Scopes:          fromTexts(kept.Scopes),
		Resources:       fromTexts(kept.Resources),
		Subject:         string(kept.Subject),
		AuthTime:        fromMillis(kept.AuthTime),
		ACR:             string(kept.ACR),
		AMR:             fromTexts(kept.AMR),
		Nonce:           string(kept.Nonce),
		Parameters:      fromParameters(kept.Parameters),
		SessionID:       string(kept.SessionID),
		Data:            kept.Data,
		IssuedAt:        fromMillis(kept.IssuedAt),
		ExpiresAt:       fromMillis(kept.ExpiresAt),
	}
	if kept.Claims != nil {
		c.Claims = json.RawMessage(*kept.Claims)
	}
	return c, nil
}

// signIn has times in microseconds.
type signIn struct {
	ID                  text   `json:"id"`
	Subject             text   `json:"sub"`
	AuthTime            *int64 `json:"auth_time,omitempty"`
	SignedInAt          *int64 `json:"signed_in_at,omitempty"`
	Persistent          bool   `json:"persistent,omitempty"`
	ACR                 text   `json:"acr,omitempty"`
	AMR                 []text `json:"amr,omitempty"`
	SecondFactorPending bool   `json:"second_factor_pending,omitempty"`
	Data                []byte `json:"data,omitempty"`
	CreatedAt           *int64 `json:"created_at,omitempty"`
	EndsAt              *int64 `json:"ends_at,omitempty"`
}

// EncodeSession writes everything but LastSeenAt and ExpiresAt.
func EncodeSession(r *session.Record) ([]byte, error) {
	return json.Marshal(signIn{
		ID:                  text(r.ID),
		Subject:             text(r.Subject),
		AuthTime:            micros(r.AuthTime),
		SignedInAt:          micros(r.SignedInAt),
		Persistent:          r.Persistent,
		ACR:                 text(r.ACR),
		AMR:                 texts(r.AMR),
		SecondFactorPending: r.SecondFactorPending,
		Data:                r.Data,
		CreatedAt:           micros(r.CreatedAt),
		EndsAt:              micros(r.EndsAt),
	})
}

// DecodeSession reads what EncodeSession wrote.
func DecodeSession(b []byte) (*session.Record, error) {
	var kept signIn
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("the record of a session cannot be read: %w", err)
	}
	return &session.Record{
		Session: session.Session{
			ID:                  string(kept.ID),
			Subject:             string(kept.Subject),
			AuthTime:            fromMicros(kept.AuthTime),
			SignedInAt:          fromMicros(kept.SignedInAt),
			Persistent:          kept.Persistent,
			ACR:                 string(kept.ACR),
			AMR:                 fromTexts(kept.AMR),
			SecondFactorPending: kept.SecondFactorPending,
			Data:                kept.Data,
		},
		CreatedAt: fromMicros(kept.CreatedAt),
		EndsAt:    fromMicros(kept.EndsAt),
	}, nil
}

// consent has its time in milliseconds.
type consent struct {
	Subject        text   `json:"sub"`
	ClientID       text   `json:"client_id"`
	Scopes         []text `json:"scopes,omitempty"`
	Resources      []text `json:"resources,omitempty"`
	IDTokenClaims  []text `json:"id_token_claims,omitempty"`
	UserInfoClaims []text `json:"userinfo_claims,omitempty"`
	GrantedAt      *int64 `json:"granted_at,omitempty"`
}

// EncodeConsent writes all of the record.
func EncodeConsent(c *authorize.ConsentRecord) ([]byte, error) {
	return json.Marshal(consent{
		Subject:        text(c.Subject),
		ClientID:       text(c.ClientID),
		Scopes:         texts(c.Scopes),
		Resources:      texts(c.Resources),
		IDTokenClaims:  texts(c.IDTokenClaims),
		UserInfoClaims: texts(c.UserInfoClaims),
		GrantedAt:      millis(c.GrantedAt),
	})
}

// DecodeConsent reads what EncodeConsent wrote.
func DecodeConsent(b []byte) (*authorize.ConsentRecord, error) {
	var kept consent
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("the record of a consent cannot be read: %w", err)
	}
	return &authorize.ConsentRecord{
		Subject:        string(kept.Subject),
		ClientID:       string(kept.ClientID),
		Scopes:         fromTexts(kept.Scopes),
		Resources:      fromTexts(kept.Resources),
		IDTokenClaims:  fromTexts(kept.IDTokenClaims),
		UserInfoClaims: fromTexts(kept.UserInfoClaims),
		GrantedAt:      fromMillis(kept.GrantedAt),
	}, nil
}
