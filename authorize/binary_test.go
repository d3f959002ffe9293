package authorize_test

import (
	"bytes"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

type binaryRecord interface {
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// forms are the records as they are in stores, with every member that there is. A name here
// is a promise: a field may get another one in Go, and not here.
var forms = []struct {
	kind string
	new  func() binaryRecord
	form string
}{
	{"code", func() binaryRecord { return &authorize.Code{} }, `{"type":"code","version":1,` +
		`"client_id":"wiki","redirect_uri":"https://wiki.example/cb?a=1","redirect_uri_sent":true,` +
		`"code_challenge":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM","scopes":["openid","profile"],` +
		`"resources":["https://api.example/"],"granted_resources":["https://api.example/","urn:b"],"grant_id":"g",` +
		`"sub":"alice","auth_time":"2026-02-02T02:40:00Z",` +
		`"acr":"urn:acr","amr":["pwd","otp"],"nonce":"n",` +
		`"parameters":{"device":"tv"},"session_id":"s","session_data":"AP8=","grant_data":"AP8=","issued_at":"2026-02-02T02:40:00.125Z",` +
		`"expires_at":"2026-02-02T02:41:00.125Z","used_at":"2026-02-02T02:40:02Z","claims":"eyAiaWRfdG9rZW4iOiB7fSB9"}`},
	{"consent", func() binaryRecord { return &authorize.ConsentRecord{} }, `{"type":"consent","version":1,` +
		`"sub":"alice","client_id":"wiki","scopes":["openid"],"resources":[],"id_token_claims":["name"],` +
		`"userinfo_claims":["email"],"refused_scopes":["email"],"data":"AP8=","revision":"r1","granted_at":"2026-02-02T02:40:00Z"}`},
	{"client", func() binaryRecord { return &authorize.Client{} }, `{"type":"client","version":1,` +
		`"client_id":"wiki","client_name":"Wiki","public":true,"redirect_uris":["https://wiki.example/cb"],` +
		`"private_use_schemes":["wiki"],"out_of_band":"urn:x","default_redirect_uri":true,"any_loopback_port":true,` +
		`"scopes":["openid","profile"],"default_scopes":["openid"],"response_types":[],"response_modes":["fragment"],` +
		`"return_page":true,` +
		`"pkce_optional":true,"require":["state"],"require_pushed":true,` +
		`"offline_access":true,"first_party":true,"unvetted":true,"revision":"r1","disabled":true}`},
}

func fieldsOf(r binaryRecord) (fields []reflect.Value, names []string) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		fields, names = append(fields, v.Field(i)), append(names, v.Type().Field(i).Name)
	}
	return fields, names
}

// set puts something into a field of any kind that a record has.
func set(field reflect.Value, text string, at time.Time) {
	switch to := field.Addr().Interface().(type) {
	case *string:
		*to = text
	case *bool:
		*to = true
	case *[]string:
		*to = []string{text, "", text + "2"}
	case *[]byte:
		*to = []byte(text)
	case *json.RawMessage:
		*to = json.RawMessage(text)
	case *map[string]string:
		*to = map[string]string{text: "", "": text, text + "2": text}
	case *time.Time:
		*to = at
	default:
		panic("no value for a " + field.Type().String() + ": add one here, and a line to the table of members")
	}
}

func throughBinary(t *testing.T, what string, in, out binaryRecord) {
	t.Helper()
	b, err := in.MarshalBinary()
	if err != nil || !json.Valid(b) {
		t.Fatalf("%s: %v\n%s", what, err, b)
	}
	if err := out.UnmarshalBinary(b); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, b)
	}
	if diff := cmp.Diff(in, out); diff != "" { // which tells nil from empty
		t.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

// A field that was added to a type and forgotten in its table fails here.
func TestEveryFieldIsInTheRecord(t *testing.T) {
	at := time.UnixMilli(1_770_000_000_123).UTC()
	for _, kind := range forms {
		t.Run(kind.kind, func(t *testing.T) {
			throughBinary(t, "nothing is set", kind.new(), kind.new())
			all, empty := kind.new(), kind.new()
			_, names := fieldsOf(all)
			for i, name := range names {
				one := kind.new()
				for _, r := range []binaryRecord{one, all} {
					fields, _ := fieldsOf(r)
					text := name + " \x00\xff\"'\\<>&é状\u2028\U0001F600\r\n"
					set(fields[i], text, at.Add(time.Duration(i)*time.Second))
				}
				throughBinary(t, name+" alone is set", one, kind.new())
				fields, _ := fieldsOf(empty)
				switch fields[i].Kind() {
				case reflect.Slice:
					fields[i].Set(reflect.MakeSlice(fields[i].Type(), 0, 0))
				case reflect.Map:
					fields[i].Set(reflect.MakeMap(fields[i].Type()))
				}
			}
			throughBinary(t, "everything is set", all, kind.new())
			throughBinary(t, "what can be empty is", empty, kind.new())
			throughBinary(t, "what was there is gone", kind.new(), all)
			throughBinary(t, "nil takes the place of empty", kind.new(), empty)
		})
	}
}

func TestFormsOfRecords(t *testing.T) {
	for _, kind := range forms {
		t.Run(kind.kind, func(t *testing.T) {
			r := kind.new()
			if err := r.UnmarshalBinary([]byte(kind.form)); err != nil {
				t.Fatal(err)
			}
			fields, names := fieldsOf(r)
			for i, name := range names {
				if fields[i].IsZero() {
					t.Errorf("the form has nothing for %s", name)
				}
			}
			if b, err := r.MarshalBinary(); err != nil || string(b) != kind.form {
				t.Errorf("%v\n got %s\nwant %s", err, b, kind.form)
			}
			for i := range kind.form {
				if err := kind.new().UnmarshalBinary([]byte(kind.form[:i])); err == nil {
					t.Fatalf("a part was read: %s", kind.form[:i])
				}
			}
			for _, other := range forms {
				if err := kind.new().UnmarshalBinary([]byte(other.form)); (err == nil) != (other.kind == kind.kind) {
					t.Errorf("the record of a %s was read as a %s: %v", other.kind, kind.kind, err)
				}
			}
		})
	}
}

// What cannot be read leaves everything as it was, and the error says why and has none of it.
func TestRecordsThatCannotBeRead(t *testing.T) {
	for _, kind := range forms {
		for _, row := range []struct{ rule, form, why string }{
			{"a later version", strings.Replace(kind.form, `"version":1`, `"version":2`, 1), "version 2"},
			{"a value of another kind at the end", strings.TrimSuffix(kind.form, "}") + `,"scopes":["secret",1]}`, "cannot unmarshal"},
			{"no version", strings.Replace(kind.form, `"version":1`, `"version":0`, 1), "version 0"},
			{"another type", strings.Replace(kind.form, kind.kind, "token", 1), `its type is "token"`},
			{"a text that was escaped in another way", strings.Replace(kind.form, `"wiki"`, `"%zz"`, 1), `"%zz"`},
			{"bytes that are not UTF-8", strings.Replace(kind.form, `"wiki"`, "\"\xff\"", 1), "not UTF-8"},
		} {
			t.Run(kind.kind+": "+row.rule, func(t *testing.T) {
				before, after := kind.new(), kind.new()
				fields, _ := fieldsOf(before)
				set(fields[0], "before", time.Time{})
				fields, _ = fieldsOf(after)
				set(fields[0], "before", time.Time{})
				err := after.UnmarshalBinary([]byte(row.form))
				if err == nil || !strings.Contains(err.Error(), row.why) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "alice") {
					t.Errorf("%v", err)
				}
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("(-before +after)\n%s", diff)
				}
			})
		}
	}
}

// Readers of other programs need not know time zones.
func TestTimesAreWrittenInUTC(t *testing.T) {
	at := time.Date(2026, 2, 2, 4, 40, 0, 0, time.FixedZone("", 2*3600))
	for name, record := range map[string]encoding.BinaryMarshaler{
		"code":    authorize.Code{AuthTime: at, IssuedAt: at, ExpiresAt: at, UsedAt: at},
		"consent": authorize.ConsentRecord{GrantedAt: at},
		"session": session.Record{
			Session:   session.Session{AuthTime: at, SignedInAt: at},
			CreatedAt: at, LastSeenAt: at, ExpiresAt: at, EndsAt: at,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := record.MarshalBinary()
			if times := strings.Count(string(b), "2026-"); err != nil || times != strings.Count(string(b), `"2026-02-02T02:40:00Z"`) {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
}

// A code that was used does not come back as one that was not.
func TestATimeThatCannotBeWritten(t *testing.T) {
	code := authorize.Code{UsedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if b, err := code.MarshalBinary(); err == nil || b != nil {
		t.Errorf("%s, %v", b, err)
	}
}

// gob and many clients of stores look for these methods, on values and on pointers.
func TestRecordsGoThroughGob(t *testing.T) {
	type all struct {
		Code    authorize.Code
		Consent *authorize.ConsentRecord
		Client  authorize.Client
		Session *session.Record
	}
	in, out := all{
		authorize.Code{Subject: "alice", Scopes: []string{}},
		&authorize.ConsentRecord{Subject: "bob", Scopes: []string{}},
		authorize.Client{ID: "wiki", ResponseTypes: []string{}},
		&session.Record{Session: session.Session{Subject: "carol"}},
	}, all{}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(in); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&b).Decode(&out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzBinary: whatever bytes come from a store, there is no panic, and what is read is
// written as the same again; whatever is in a record survives.
func FuzzBinary(f *testing.F) {
	for i, kind := range forms {
		f.Add(byte(i), []byte(kind.form), "a\xff", int64(1_770_000_000_000), uint32(1<<i))
		other := strings.Replace(kind.form, `"sub":"alice"`, `"sub":"%FF","later":[]`, 1)
		f.Add(byte(i), []byte(other), "[]", int64(-1), ^uint32(0))
	}
	f.Fuzz(func(t *testing.T, which byte, hostile []byte, text string, ms int64, fields uint32) {
		kind := forms[int(which)%len(forms)]
		read := kind.new()
		if err := read.UnmarshalBinary(hostile); err == nil {
			throughBinary(t, "what was read", read, kind.new())
		} else if diff := cmp.Diff(kind.new(), read); diff != "" {
			t.Errorf("after an error: (-want +got)\n%s", diff)
		}
		written := kind.new()
		all, _ := fieldsOf(written)
		for i, field := range all {
			if fields>>i&1 == 1 {
				set(field, text, time.UnixMilli(ms&(1<<47-1)).UTC()) // before the year 10000
			}
		}
		throughBinary(t, "what was written", written, kind.new())
	})
}
