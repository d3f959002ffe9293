package session_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

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

// A field that was added and forgotten in the table of members fails here. Package authorize
// has the tests of the form that hold for all records, and fuzzes it.
func TestEveryFieldOfARecordIsWritten(t *testing.T) {
	through := func(rule string, rec *session.Record) {
		t.Helper()
		var got session.Record
		b, err := rec.MarshalBinary()
		if err == nil {
			err = got.UnmarshalBinary(b)
		}
		if err != nil || !reflect.DeepEqual(&got, rec) {
			t.Errorf("%s: %v\n got %+v\nwant %+v\n%s", rule, err, got, *rec, b)
		}
	}
	through("nothing is set", &session.Record{})
	through("what can be empty is", &session.Record{Session: session.Session{AMR: []string{}, Data: []byte{}}})
	all := &session.Record{}
	for i := range fields(all) {
		one := &session.Record{}
		for _, rec := range []*session.Record{one, all} {
			switch to := fields(rec)[i].Addr().Interface().(type) {
			case *string:
				*to = strings.Repeat("a\xff", i+1)
			case *[]string:
				*to = []string{"a\xff", ""}
			case *[]byte:
				*to = []byte{0, 0xff}
			case *bool:
				*to = true
			case *time.Time:
				*to = time.UnixMicro(1_770_000_000_000_001 + int64(i)).UTC()
			default:
				t.Fatalf("no value for a %T: add one here, and a line to the table of members", to)
			}
		}
		through("one field is set", one)
	}
	through("everything is set", all)
}

func TestWhatIsNoRecordChangesNothing(t *testing.T) {
	want := session.Record{Session: session.Session{Subject: "alice"}}
	for _, b := range []string{
		"", "{}", "null", `{"type":"code","version":1}`, `{"type":"session","version":2}`,
		`{"type":"session","version":1,"sub":"bob","data":1}`,
	} {
		got := want
		if err := got.UnmarshalBinary([]byte(b)); err == nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was read as %v, %v", b, got, err)
		}
	}
}
