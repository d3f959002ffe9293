package record

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

const awkward = "a\x00b\xff\xfe\"'\\<>&é状\u2028\U0001F600\r\n"

// fill puts something into every field, so that a field that is forgotten shows. Lists and
// maps get as many values as said.
func fill(v reflect.Value, n, many int) {
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.UnixMilli(1_770_000_000_000 + int64(n)).UTC()
		return
	case *json.RawMessage:
		*at = json.RawMessage(` {"a" : 1e3, "a":"<&>é"} `)
		return
	case *[]byte:
		*at = []byte{0, 0xff, byte(n)}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), 100*n+i+1, many)
		}
	case reflect.String:
		v.SetString(fmt.Sprint(n, awkward))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), many, many))
		for i := range many {
			fill(v.Index(i), n+i, many)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range many {
			name, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(name, n+i, many)
			fill(value, n+10+i, many)
			v.SetMapIndex(name, value)
		}
	default:
		panic("no value for a " + v.Type().String())
	}
}

// through writes the record, reads it again and compares.
func through[T any](t *testing.T, rule string, want *T, encode func(*T) ([]byte, error), decode func([]byte) (*T, error), beside ...string) {
	t.Helper()
	b, err := encode(want)
	if err != nil || !json.Valid(b) {
		t.Fatalf("%s: %v\n%s", rule, err, b)
	}
	got, err := decode(b)
	if err != nil {
		t.Fatalf("%s: %v\n%s", rule, err, b)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.FilterPath(func(p cmp.Path) bool {
		for _, name := range beside {
			if p.Last().String() == "."+name {
				return true
			}
		}
		return false
	}, cmp.Ignore())); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", rule, diff)
	}
	for _, name := range beside {
		if !reflect.ValueOf(got).Elem().FieldByName(name).IsZero() {
			t.Errorf("%s: %s came back, and stores keep it beside the record", rule, name)
		}
	}
}

func TestEveryFieldSurvives(t *testing.T) {
	var code authorize.Code
	var consent authorize.ConsentRecord
	var record session.Record
	for many, rule := range []string{"nothing is set", "everything is set, lists have one value", "two", "three"} {
		if many > 0 {
			fill(reflect.ValueOf(&code).Elem(), 1, many)
			fill(reflect.ValueOf(&consent).Elem(), 2, many)
			fill(reflect.ValueOf(&record).Elem(), 3, many)
		}
		through(t, rule, &code, EncodeCode, DecodeCode, "UsedAt")
		through(t, rule, &consent, EncodeConsent, DecodeConsent)
		through(t, rule, &record, EncodeSession, DecodeSession, "LastSeenAt", "ExpiresAt")
	}
	record.CreatedAt = record.CreatedAt.Add(time.Microsecond)
	through(t, "microseconds", &record, EncodeSession, DecodeSession, "LastSeenAt", "ExpiresAt")
}

func TestRecordsCanBeReadByPeople(t *testing.T) {
	b, err := EncodeCode(&authorize.Code{ClientID: "wiki", RedirectURI: "https://wiki.example/cb", Subject: "alice", Scopes: []string{"openid"}})
	if want := `{"client_id":"wiki","redirect_uri":"https://wiki.example/cb","scopes":["openid"],"sub":"alice"}`; err != nil || string(b) != want {
		t.Errorf("%v\n got %s\nwant %s", err, b, want)
	}
}

func TestWhatIsNoRecord(t *testing.T) {
	for _, b := range []string{"", "null x", "[]", `{"sub":["x","y"]}`, `{"sub":["%"]}`, `{"sub":[1]}`, `{"sub":7}`, `{"sub":"a"`} {
		if c, err := DecodeCode([]byte(b)); err == nil {
			t.Errorf("code %s: %v", b, c)
		}
		if c, err := DecodeConsent([]byte(b)); err == nil {
			t.Errorf("consent %s: %v", b, c)
		}
		if c, err := DecodeSession([]byte(b)); err == nil {
			t.Errorf("session %s: %v", b, c)
		}
	}
	later := []byte(`{"sub":"alice","of a later version":{}}`)
	if c, err := DecodeCode(later); err != nil || c.Subject != "alice" {
		t.Errorf("a code with a member of a later version: %v, %v", c, err)
	}
	if c, err := DecodeConsent(later); err != nil || c.Subject != "alice" {
		t.Errorf("a consent with a member of a later version: %v, %v", c, err)
	}
	if c, err := DecodeSession(later); err != nil || c.Subject != "alice" {
		t.Errorf("a session with a member of a later version: %v, %v", c, err)
	}
}

func FuzzText(f *testing.F) {
	f.Add(awkward)
	f.Add("[]")
	f.Fuzz(func(t *testing.T, s string) {
		through(t, "a name and a value", &authorize.Code{Parameters: map[string]string{s: s, s + s: "", "": s}}, EncodeCode, DecodeCode)
		through(t, "a text", &authorize.ConsentRecord{Subject: s, ClientID: s, Scopes: []string{s, s}}, EncodeConsent, DecodeConsent)
	})
}
