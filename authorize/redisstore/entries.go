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

// How DeleteSessionsOf finds the sessions.
//
// Each subject has two lists under keys of their own, one of its finished sessions and one of
// those whose second factor is pending. In a cluster the lists are in other slots than the
// sessions, so listing and saving are two steps. An entry stands for one call of SaveSession,
// whose mark is also in the record. Every session has an entry:
//
//   - SaveSession writes first the entry and then the record.
//   - DeleteSessionsOf deletes each record that has the mark of its entry. If a record was
//     deleted, it then deletes the entry. DeleteSession also deletes the record and then the
//     entry. An entry without a record stays, because the record may still be written.
//   - The server refuses to write a record later than saveWithin after its entry. So an
//     entry that is older than deadAfter and has no record may be deleted.
//   - The record of an entry is written once at most, so never after its entry is deleted.
//     The client must not repeat that command.
//   - No record outlives its entry: both expire by the server's clock, the entry more than
//     an hour later.
//
// Only servers measure ages and times to live. In a cluster the list and the record may be on
// different servers, so deadAfter allows for some minutes between their clocks.
//
// Everybody who can sign in can add entries, so a list must stay short enough for one call of
// DeleteSessionsOf. If a list has more than mostSessions, those that end first are deleted,
// with their records. At mostEntries SaveSession fails; only calls that were abandoned half
// way can lead there. Each list has its own limits. So an attacker who has only a password can
// neither end a finished session nor prevent one. A sign-in never moves from one list to the
// other: when it is finished, it is saved as a new session.

const (
	// entryMargin is how long an entry outlives the session.
	entryMargin = sessionMargin + time.Hour

	// deadAfter is the age from which an entry without a record may be deleted.
	deadAfter = 5 * saveWithin

	// mostSessions is how many sessions of one kind a subject can have.
	mostSessions = 1000

	// mostEntries is how many entries a list can have.
	mostEntries = 10 * mostSessions

	// atOnce is how many sessions are deleted in one round trip to a server.
	atOnce = 500
)

var (
	// addEntry takes the entry, its time to live, and the limits of sessions and entries. It
	// returns the server's time, the time when the entry was added ('' if there is no room),
	// and the entries to delete with their scores. A score is when the entry expires. A
	// repeated call makes the entry younger, which is harmless. It always writes, because WAIT
	// counts only writes of its own connection.
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

	// listEntries returns the server's time, '', and the entries with their scores.
	listEntries = newScript(now + `
redis.call('ZREM', KEYS[1], '')
local answer = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(answer, 1, '')
table.insert(answer, 1, string.format('%d', now))
return answer`)

	removeEntries = newScript(`
return redis.call('ZREM', KEYS[1], unpack(ARGV))`)
)

// share names the list of the subject's sessions of one kind. Each session has it in a field.
func share(subject string, pending bool) string {
	if pending {
		return hashed(subject) + ":pending"
	}
	return hashed(subject)
}

func (s *Store) entriesOf(share string) string { return s.prefix + "sessions-of:" + share }

// newMark returns the mark of a call of SaveSession. It contains the time to live of the entry.
// An entry is the mark followed by the name of the session's key.
func newMark(life int64) string { return fmt.Sprintf("%s%013d", rand.Text(), life) }

var validEntry = regexp.MustCompile(`^([A-Z2-7]{26}([0-9]{13}))(~?[A-Za-z0-9_-]{43})$`)

// entry is an entry of a list as it was read.
type entry struct {
	text, mark, name string
	dead             bool // it may be deleted if it has no record
}

// entriesIn reads the replies of addEntry and listEntries. Entries that are not from a
// SaveSession have no mark.
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

// addEntry adds the entry of a session that is about to be saved, and deletes sessions over
// the limit. It returns the server's time at which it was added.
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
		return 0, fmt.Errorf("the subject has the most entries for sessions of this kind: %d", mostEntries)
	}
	return strconv.ParseInt(added, 10, 64)
}

// deleteEntries deletes the sessions of the entries in a reply, and the entries.
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

// deleteSome deletes the sessions of these entries. It then deletes the entries whose session
// it has deleted or can no longer be written.
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
