package session_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

// form is a record as it is in stores, with every member that there is. A name here is a
// promise: a field may get another one in Go, and not here.
const form = `{"type":"session","version":1,"id":"k","sub":"alice",` +
	`"auth_time":"2026-02-02T02:40:00.000001Z","signed_in_at":"2026-02-02T02:40:00.000002Z","persistent":true,` +
	`"acr":"urn:acr","amr":["pwd"],"second_factor_pending":true,"data":"AP8=","created_at":"2026-02-02T02:40:00.000003Z",` +
	`"last_seen_at":"2026-02-02T02:40:00.000004Z","expires_at":"2026-02-02T02:40:00.000005Z","ends_at":"2026-02-02T02:40:00.000006Z"}`

// fields are those of a record, with those of its Session in front.
func fields(rec *session.Record) (list []reflect.Value) {
	for _, of := range []reflect.Value{reflect.ValueOf(&rec.Session).Elem(), reflect.ValueOf(rec).Elem()} {
		for i := range of.NumField() {
			if !of.Type().Field(i).Anonymous {
				list = append(list, of.Field(i))
			}
		}
	}
	return list
}

func throughBinary(t *testing.T, rule string, rec *session.Record) {
	t.Helper()
	got := session.Record{Session: session.Session{Subject: "bob"}}
	b, err := rec.MarshalBinary()
	if err == nil {
		err = got.UnmarshalBinary(b)
	}
	if err != nil || !reflect.DeepEqual(&got, rec) { // which tells nil from empty
		t.Errorf("%s: %v\n got %+v\nwant %+v\n%s", rule, err, got, *rec, b)
	}
}

// set puts something into a field of any kind that a record has.
func set(t *testing.T, field reflect.Value, text string, at time.Time) {
	switch to := field.Addr().Interface().(type) {
	case *string:
		*to = text
	case *[]string:
		*to = []string{text, ""}
	case *[]byte:
		*to = []byte(text)
	case *bool:
		*to = true
	case *time.Time:
		*to = at
	default:
		t.Fatalf("no value for a %T: add one here, and a line to the table of members", to)
	}
}

// A field that was added and forgotten in the table of members fails here.
func TestEveryFieldOfARecordIsWritten(t *testing.T) {
	throughBinary(t, "nothing is set", &session.Record{})
	throughBinary(t, "what can be empty is", &session.Record{Session: session.Session{AMR: []string{}, Data: []byte{}}})
	all := &session.Record{}
	for i := range fields(all) {
		one := &session.Record{}
		for _, rec := range []*session.Record{one, all} {
			at := time.UnixMicro(1_770_000_000_000_001 + int64(i)).UTC()
			set(t, fields(rec)[i], strings.Repeat("a\xff", i+1), at)
		}
		throughBinary(t, "one field is set", one)
	}
	throughBinary(t, "everything is set", all)
}

func TestTheFormOfARecord(t *testing.T) {
	var rec session.Record
	if err := rec.UnmarshalBinary([]byte(form)); err != nil {
		t.Fatal(err)
	}
	for i, field := range fields(&rec) {
		if field.IsZero() {
			t.Errorf("the form has nothing for field %d", i)
		}
	}
	if b, err := rec.MarshalBinary(); err != nil || string(b) != form {
		t.Errorf("%v\n got %s\nwant %s", err, b, form)
	}
}

func TestWhatIsNoRecordChangesNothing(t *testing.T) {
	want := session.Record{Session: session.Session{Subject: "alice"}}
	for _, b := range []string{
		"", "{}", "null", `{"type":"code","version":1}`, `{"type":"session","version":2}`,
		`{"type":"session","version":1,"sub":"bob","data":1}`, form[:len(form)-1],
		`{"type":"session","version":0}`, `{"type":"session","version":1,"sub":"%zz"}`, "{\"type\":\"session\",\"version\":1,\"sub\":\"\xff\"}",
	} {
		got := want
		if err := got.UnmarshalBinary([]byte(b)); err == nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was read as %v, %v", b, got, err)
		}
	}
}

// FuzzBinary: whatever bytes come from a store, there is no panic, and what is read is
// written as the same again; whatever is in a record survives.
func FuzzBinary(f *testing.F) {
	f.Add([]byte(form), "a\xff", int64(1_770_000_000_000_000), uint32(0x5555))
	other := strings.Replace(form, `"sub":"alice"`, `"sub":"%FF","later":[]`, 1)
	f.Add([]byte(other), "[]", int64(-1), ^uint32(0))
	f.Fuzz(func(t *testing.T, hostile []byte, text string, us int64, which uint32) {
		var read, written session.Record
		if err := read.UnmarshalBinary(hostile); err == nil {
			throughBinary(t, "what was read", &read)
		} else if !reflect.DeepEqual(read, session.Record{}) {
			t.Errorf("after an error: %v", read)
		}
		for i, field := range fields(&written) {
			if which>>i&1 == 1 {
				set(t, field, text, time.UnixMicro(us&(1<<57-1)).UTC()) // before the year 10000
			}
		}
		throughBinary(t, "what was written", &written)
	})
}
