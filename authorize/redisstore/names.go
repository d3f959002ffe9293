package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"time"
)

var plain = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// name returns what stands for a hash or a session's key in the name of a key: itself if
// it looks like one, or else something that no such one looks like.
func name(key string) string {
	if plain.MatchString(key) {
		return key
	}
	return "~" + hashed(key)
}

// hashed stands for a subject or an id of any length and any bytes.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// longest bounds times to live, far below what a server can add to its clock.
const longest = 100 * 365 * 24 * time.Hour

// lifetime is how long it is from one time to another, and margin: in milliseconds, as the
// server counts, and never nothing.
func lifetime(from, until time.Time, margin time.Duration) int64 {
	life := min(max(until.Sub(from), 0), longest) + min(margin, longest)
	return max(life.Milliseconds()+1, 1)
}
