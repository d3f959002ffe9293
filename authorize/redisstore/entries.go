package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// How DeleteSessionsOf finds what it deletes.
//
// The sessions of a subject are listed under two keys of its own, one for those that are
// finished and one for those whose second factor is pending. In a cluster they are in other
// slots, so that listing and saving are two steps. An entry stands for one call of
// SaveSession, whose mark is also in the record. There is no session without an entry:
//
//   - SaveSession makes the entry first and the record then.
//   - DeleteSessionsOf deletes each record whose mark is that of the entry, and then the
//     entry, but only if it was there to be deleted. DeleteSession does the same from the
//     other end. An entry whose record is missing stays: the record may be on its way.
//   - It is not on its way for ever: the server writes no record later than saveWithin
//     after its entry. So an entry that is older than deadAfter and has no record may go.
//   - The record of one entry is written once at most, so it cannot come after its entry
//     has gone. The client must not repeat that command.
//   - No record outlives its entry: both go by the server's clock, the entry by more than
//     an hour later.
//
// Ages and times to live are measured by servers alone. In a cluster those of the list and
// of the record differ, so deadAfter leaves some minutes for their clocks.
//
// Whoever can sign in can make entries, so there must never be more of them than one call
// of DeleteSessionsOf gets through: of more than mostSessions in a list those that end
// first give way, with their records, and at mostEntries, which only calls that were given
// up half way can reach, SaveSession fails. As each list has bounds of its own, who has
// only a password can neither end a finished session nor be in the way of one. A sign-in
// never goes from one list to the other: when it is finished, it is saved anew.

const (
	// entryMargin is how long an entry outlives the session.
	entryMargin = sessionMargin + time.Hour

	// deadAfter is the age from which an entry without a record is of no use.
	deadAfter = 5 * saveWithin

	// mostSessions is how many sessions of one kind a subject can have.
	mostSessions = 1000

	// mostEntries is how long a list can be.
	mostEntries = 10 * mostSessions

	// atOnce is how many sessions are deleted in one way to a server and back.
	atOnce = 500
)

var (
	// addEntry: entry, its time to live, most sessions, most entries. It returns the
	// server's time, when the entry was added or nothing if there is no room, and entries
	// that have to give way, with their scores. A score is when the entry goes. A call that
	// is repeated makes the entry younger, which is harmless, and always writes, as WAIT
	// counts only what this connection has written.
	addEntry = newScript(now + `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now))
local room = redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[4])
local answer = {string.format('%d', now), ''}
if room then
  redis.call('ZADD', KEYS[1], string.format('%d', now + tonumber(ARGV[2])), ARGV[1])
  answer[2] = answer[1]
end
local life = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1]))
redis.call('PEXPIRE', KEYS[1], string.format('%d', life))
local many = math.min(redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3]), tonumber(ARGV[3]))
if many <= 0 then return answer end
local first = redis.call('ZRANGE', KEYS[1], 0, many, 'WITHSCORES')
for i = 1, #first, 2 do
  if first[i] ~= ARGV[1] and #answer < 2 + 2 * many then
    answer[#answer + 1] = first[i]
    answer[#answer + 1] = first[i + 1]
  end
end
return answer`)

	// listEntries returns the server's time, nothing, and the entries with their scores.
	listEntries = newScript(now + `
redis.call('ZREM', KEYS[1], '')
local answer = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(answer, 1, '')
table.insert(answer, 1, string.format('%d', now))
return answer`)

	removeEntries = newScript(`
return redis.call('ZREM', KEYS[1], unpack(ARGV))`)
)

// share names the list that sessions of the subject and the kind are on. It is kept with
// each of them.
func share(subject string, pending bool) string {
	if pending {
		return hashed(subject) + ":pending"
	}
	return hashed(subject)
}

func (s *Store) entriesOf(share string) string { return s.prefix + "sessions-of:" + share }

// newMark returns the mark of a call that saves a session, which says how long its entry
// lives. The entry is the mark and the name of the key.
func newMark(life int64) string { return fmt.Sprintf("%s%013d", rand.Text(), life) }

var validEntry = regexp.MustCompile(`^([A-Z2-7]{26}([0-9]{13}))(~?[A-Za-z0-9_-]{43})$`)

// entry is one that was read.
type entry struct {
	text, mark, name string
	dead             bool // it may go if it has no record
}

// entriesIn reads what addEntry and listEntries answer. Entries that no SaveSession has
// made have no mark.
func entriesIn(answer any) ([]entry, error) {
	texts, err := textsOf(answer)
	if err != nil {
		return nil, err
	}
	now, err := strconv.ParseInt(texts[0], 10, 64)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for pair := range slices.Chunk(texts[2:], 2) {
		is := validEntry.FindStringSubmatch(pair[0])
		if is == nil {
			entries = append(entries, entry{text: pair[0]})
			continue
		}
		life, _ := strconv.ParseInt(is[2], 10, 64) // 13 digits
		gone, err := strconv.ParseFloat(pair[1], 64)
		if err != nil {
			return nil, err
		}
		age := now - (int64(gone) - life)
		entries = append(entries, entry{pair[0], is[1], is[3], age > deadAfter.Milliseconds()})
	}
	return entries, nil
}

// addEntry lists a session that is about to be saved, and deletes those that have to give
// way to it. It returns when that was by the server's clock.
func (s *Store) addEntry(ctx context.Context, list, text string) (int64, error) {
	life := validEntry.FindStringSubmatch(text)[2]
	answer, err := s.run(ctx, durably, addEntry, list, text, life, mostSessions, mostEntries)
	if err != nil {
		return 0, err
	}
	if err := s.deleteEntries(ctx, list, answer); err != nil {
		return 0, fmt.Errorf("make room for it: %w", err)
	}
	added := answer.([]any)[1].(string)
	if added == "" {
		return 0, fmt.Errorf("the subject has %d sessions of one kind that are being saved", mostEntries)
	}
	return strconv.ParseInt(added, 10, 64)
}

// deleteEntries deletes the sessions of the entries in an answer, and the entries.
func (s *Store) deleteEntries(ctx context.Context, list string, answer any) error {
	entries, err := entriesIn(answer)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(entries, atOnce) {
		if err := s.deleteSome(ctx, list, some); err != nil {
			return err
		}
	}
	return nil
}

// deleteSome deletes the sessions of these entries, and the entries of those that were
// there and of those that cannot come any more.
func (s *Store) deleteSome(ctx context.Context, list string, entries []entry) error {
	var gone []any
	var steps []step
	var of []entry
	for _, e := range entries {
		if e.mark == "" {
			gone = append(gone, e.text)
			continue
		}
		steps = append(steps, step{key: s.prefix + "session:" + e.name, args: []any{e.mark, s.always()}})
		of = append(of, e)
	}
	s.runAll(ctx, deleteSession, steps)
	var errs []error
	for i, step := range steps {
		err := step.err
		var deleted []string
		if err == nil {
			deleted, err = textsOf(step.answer)
		}
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(deleted) > 0 || of[i].dead:
			gone = append(gone, of[i].text)
		}
	}
	if len(gone) > 0 {
		_, err := s.run(ctx, repeatedly, removeEntries, list, gone...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
