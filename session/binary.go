package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// latestVersion is the latest version of a record that this release reads. The file
// binary.go of package authorize says when it must rise, and has the other rules for these
// names.
const latestVersion = 1

// storedRecord is a [Record] as it is written. [Session] is converted to sessionMembers, so
// a field that is missing there does not compile.
type storedRecord struct {
	Type    string `json:"type"`
	Version int    `json:"version"`
	sessionMembers
	CreatedAt  time.Time `json:"created_at,omitzero"`
	LastSeenAt time.Time `json:"last_seen_at,omitzero"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	EndsAt     time.Time `json:"ends_at,omitzero"`
}

type sessionMembers struct {
	ID                  string    `json:"id,omitempty"`
	Subject             string    `json:"sub,omitempty"`
	AuthTime            time.Time `json:"auth_time,omitzero"`
	SignedInAt          time.Time `json:"signed_in_at,omitzero"`
	Persistent          bool      `json:"persistent,omitempty"`
	ACR                 string    `json:"acr,omitempty"`
	AMR                 []string  `json:"amr,omitzero"`
	SecondFactorPending bool      `json:"second_factor_pending,omitempty"`
	Data                []byte    `json:"data,omitzero"`
}

// MarshalBinary returns the record in the format in which a [Store] may keep it: a JSON
// object with every field that is set. [Record.UnmarshalBinary] reads it. It implements
// [encoding.BinaryMarshaler].
//
// Nil and empty stay different. A text keeps its bytes: a text that is not UTF-8, or has a
// "%", is percent-encoded. Times are in UTC; a time after the year 9999 is an error. The
// size is not limited.
//
// A later release reads every record of an earlier one. An earlier release reads a record
// of a later one, without the fields that it does not know. If that would grant more than
// was written, the record has a version that the earlier release refuses.
func (rec Record) MarshalBinary() ([]byte, error) {
	s := rec.Session.clone()
	s.eachText(escape)
	s.AuthTime, s.SignedInAt = s.AuthTime.UTC(), s.SignedInAt.UTC()
	b, err := json.Marshal(storedRecord{
		Type: "session", Version: 1, sessionMembers: sessionMembers(s),
		CreatedAt: rec.CreatedAt.UTC(), LastSeenAt: rec.LastSeenAt.UTC(),
		ExpiresAt: rec.ExpiresAt.UTC(), EndsAt: rec.EndsAt.UTC(),
	})
	if err != nil {
		return nil, fmt.Errorf("session: the record cannot be written: %w", err)
	}
	return b, nil
}

// UnmarshalBinary replaces the whole record by what [Record.MarshalBinary] has written. It
// implements [encoding.BinaryUnmarshaler]. The record shares no memory with b.
//
// A store that keeps LastSeenAt and ExpiresAt beside the record, because TouchSession
// changes them, sets them after reading. Write each record only once: an earlier release
// that writes a record of a later one again loses the fields that only the later one knows.
//
// Other bytes, a part of a record, and a record of another type or of a later version are
// an error, and rec stays as it was. Members that this release does not know are ignored.
// There is no protection against somebody who can write to the store.
func (rec *Record) UnmarshalBinary(b []byte) error {
	var read storedRecord
	err := json.Unmarshal(b, &read)
	s := Session(read.sessionMembers)
	switch {
	case err != nil:
	case !utf8.Valid(b):
		err = errors.New("it is not UTF-8")
	case read.Type != "session":
		err = fmt.Errorf("its type is %.40q: is another record under this key?", read.Type)
	case read.Version < 1 || read.Version > latestVersion:
		err = fmt.Errorf("it has version %d, and this release reads versions up to %d", read.Version, latestVersion)
	default:
		s.eachText(func(text string) string {
			plain, wrong := url.PathUnescape(text)
			err = errors.Join(err, wrong)
			return plain
		})
	}
	if err != nil {
		return fmt.Errorf("session: the record cannot be read: %w", err)
	}
	*rec = Record{s, read.CreatedAt, read.LastSeenAt, read.ExpiresAt, read.EndsAt}
	return nil
}

// escape returns the text in a form that JSON can hold: JSON has UTF-8 only, and a text can
// have any bytes.
func escape(text string) string {
	if utf8.ValidString(text) && !strings.Contains(text, "%") {
		return text
	}
	return url.PathEscape(text)
}
