package session

import "github.com/usher-auth/usher/internal/binary"

// members are the fields of a record as they are written and read: one line for each.
func (rec *Record) members() []binary.Member {
	return []binary.Member{
		binary.Text("id", &rec.ID),
		binary.Text("sub", &rec.Subject),
		binary.Micros("auth_time_us", &rec.AuthTime),
		binary.Micros("signed_in_at_us", &rec.SignedInAt),
		binary.Flag("persistent", &rec.Persistent),
		binary.Text("acr", &rec.ACR),
		binary.Texts("amr", &rec.AMR),
		binary.Flag("second_factor_pending", &rec.SecondFactorPending),
		binary.Bytes("data", &rec.Data),
		binary.Micros("created_at_us", &rec.CreatedAt),
		binary.Micros("last_seen_at_us", &rec.LastSeenAt),
		binary.Micros("expires_at_us", &rec.ExpiresAt),
		binary.Micros("ends_at_us", &rec.EndsAt),
	}
}

// MarshalBinary returns the record in the form in which a [Store] may keep it: a JSON object
// with every field in it that is set, for [Record.UnmarshalBinary]. It implements
// [encoding.BinaryMarshaler].
//
// Times are in UTC and in whole microseconds; what is less is cut off. Texts keep their
// bytes, UTF-8 or not, and nil stays apart from empty. A time too far from 1970 to be counted
// in microseconds is an error, and so is one in the first microsecond of the year 1, which
// would come back as zero. The size is not limited: Data takes a third more than its bytes.
//
// Every later release reads what an earlier one wrote. An earlier one reads what a later one
// wrote, without the fields that it does not know, unless that would grant more than was
// written: then the record has a version that the earlier one refuses.
func (rec Record) MarshalBinary() ([]byte, error) {
	return binary.Marshal("session", rec.members())
}

// UnmarshalBinary sets the record to what [Record.MarshalBinary] has written, as a whole. It
// implements [encoding.BinaryUnmarshaler]. The record shares no memory with b.
//
// A store that keeps LastSeenAt and ExpiresAt beside the record, because TouchSession
// changes them, sets them after reading. Writing a record anew that a later release wrote
// loses what only that release knows, so it is better to write each once.
//
// What is not such a record is an error and leaves rec as it was: other bytes, a part of a
// record, a record of another type, one with a member twice or of the wrong kind, and one of a
// later version. Members that this release does not know are ignored. The error has none of
// the values in it. Nothing protects against somebody who can write to the store.
func (rec *Record) UnmarshalBinary(b []byte) error {
	var read Record
	if err := binary.Unmarshal("session", b, read.members()); err != nil {
		return err
	}
	*rec = read
	return nil
}
