package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"time"
)

var plain = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// name returns the text for a hash or a session's key in the name of a Redis key. This is the
// hash itself if it has the usual form. Otherwise it begins with "~", which that form excludes.
func name(key string) string {
	if plain.MatchString(key) {
		return key
	}
	return "~" + hashed(key)
}

// hashed returns the SHA-256 of a subject or an id, in base64url.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// longest is the longest time to live. A server can add it to its clock without an overflow.
const longest = 100 * 365 * 24 * time.Hour

// lifetime returns the time from one instant to another plus the margin, in milliseconds. It
// is never less than 1, which a time to live must be.
func lifetime(from, until time.Time, margin time.Duration) int64 {
	life := min(max(until.Sub(from), 0), longest) + min(margin, longest)
	return max(life.Milliseconds()+1, 1)
}
