package binary

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// record has a field of every kind.
type record struct {
	Text   string
	Texts  []string
	Flag   bool
	Bytes  []byte
	Millis time.Time
	Micros time.Time
	JSON   json.RawMessage
	Pairs  map[string]string
}

func (r *record) members() []Member {
	return []Member{
		Text("text", &r.Text), Texts("texts", &r.Texts), Flag("flag", &r.Flag),
		Bytes("bytes", &r.Bytes), Millis("ms", &r.Millis), Micros("us", &r.Micros),
		JSON("json", &r.JSON), Pairs("pairs", &r.Pairs),
	}
}

func read(text string) (r record, err error) {
	err = Unmarshal("test", []byte(text), r.members())
	return r, err
}

// What is in stores stays readable: each of these is written and read as it stands here.
func TestTheForm(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	for _, row := range []struct {
		rule string
		in   record
		want string // after the type and the version
	}{
		{"what is zero is left out", record{}, ``},
		{"a text", record{Text: "é \u2028\x00\"\ufffd"}, `,"text":"é \u2028\u0000\"` + "\ufffd" + `"`},
		{"an address can be read", record{Text: "https://a.example/?b=<c>&d"},
			`,"text":"https://a.example/?b=<c>&d"`},
		{"what is not UTF-8", record{Text: "a\xff"}, `,"text":{"base64":"Yf8="}`},
		{"no texts", record{Texts: []string{}}, `,"texts":[]`},
		{"texts", record{Texts: []string{"b", "", "\xff", "<"}}, `,"texts":["b","",{"base64":"/w=="},"<"]`},
		{"a flag", record{Flag: true}, `,"flag":true`},
		{"no bytes", record{Bytes: []byte{}}, `,"bytes":""`},
		{"bytes", record{Bytes: []byte{0, 0xff}}, `,"bytes":"AP8="`},
		{"milliseconds", record{Millis: at.Truncate(time.Millisecond)}, `,"ms":1772366400123`},
		{"microseconds", record{Micros: at}, `,"us":1772366400123456`},
		{"the beginning of 1970", record{Millis: time.UnixMilli(0).UTC()}, `,"ms":0`},
		{"a time before", record{Micros: time.UnixMicro(-1).UTC()}, `,"us":-1`},
		{"a second before", record{Millis: time.UnixMilli(-1001).UTC()}, `,"ms":-1001`},
		{"the last millisecond", record{Millis: time.UnixMilli(math.MaxInt64).UTC()}, `,"ms":9223372036854775807`},
		{"the first", record{Millis: time.UnixMilli(math.MinInt64).UTC()}, `,"ms":-9223372036854775808`},
		{"the first microsecond", record{Micros: time.UnixMicro(math.MinInt64).UTC()}, `,"us":-9223372036854775808`},
		{"no JSON", record{JSON: json.RawMessage{}}, `,"json":""`},
		{"JSON keeps its spaces", record{JSON: json.RawMessage(` {"a" : 1e3} `)}, `,"json":" {\"a\" : 1e3} "`},
		{"JSON that is none", record{JSON: json.RawMessage("\xff")}, `,"json":{"base64":"/w=="}`},
		{"no pairs", record{Pairs: map[string]string{}}, `,"pairs":[]`},
		{"pairs in order", record{Pairs: map[string]string{"b": "", "a": "\xff", "\xfe": "c"}},
			`,"pairs":[["a",{"base64":"/w=="}],["b",""],[{"base64":"/g=="},"c"]]`},
	} {
		t.Run(row.rule, func(t *testing.T) {
			want := `{"type":"test","version":1` + row.want + `}`
			if got, err := Marshal("test", row.in.members()); err != nil || string(got) != want {
				t.Errorf("%v\n got %s\nwant %s", err, got, want)
			}
			if got, err := read(want); err != nil || !reflect.DeepEqual(got, row.in) {
				t.Errorf("read as %#v, %v", got, err)
			}
			for i := range want { // a part of a record is none
				if got, err := read(want[:i]); err == nil {
					t.Fatalf("%s was read as %v", want[:i], got)
				}
			}
		})
	}
}

func TestTimesAreCutOff(t *testing.T) {
	zone := time.FixedZone("east", 3600)
	for _, row := range []struct {
		rule string
		at   time.Time
		want string // empty: it cannot be written
	}{
		{"less than a unit", time.Unix(1, 999_999_999), `{"type":"test","version":1,"ms":1999,"us":1999999}`},
		{"in another zone", time.Unix(1, 0).In(zone), `{"type":"test","version":1,"ms":1000,"us":1000000}`},
		{"before 1970", time.Unix(-1, 1), `{"type":"test","version":1,"ms":-1000,"us":-1000000}`},
		{"it would be zero", time.Time{}.Add(999), ""},
		{"too late", time.Unix(math.MaxInt64/1_000_000+1, 0), ""},
		{"much too late", time.Unix(math.MaxInt64/2, 0), ""},
		{"too early", time.Unix(math.MinInt64/1_000_000-2, 0), ""},
	} {
		t.Run(row.rule, func(t *testing.T) {
			r := record{Micros: row.at}
			if row.want != "" {
				r.Millis = row.at
			}
			got, err := Marshal("test", r.members())
			if string(got) != row.want || (err == nil) != (row.want != "") {
				t.Errorf("%s, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), "us: a time of the year") {
				t.Errorf("the error does not name the member: %v", err)
			}
		})
	}
}

// A name is one name, not one in any case; of a later release's members none matters.
func TestUnknownMembersAreIgnored(t *testing.T) {
	for _, rest := range []string{
		`,"later":{"text":"b"}`, `,"later":null`, `,"Text":"b"`, `,"TEXT":1`, `,"flag\u0000":true`,
		`,"":[[[]]]`, `,"flag":false`,
	} {
		got, err := read(` {"version":1 , "text":"a"` + rest + `,"type":"test"} `)
		if want := (record{Text: "a"}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was read as %v, %v", rest, got, err)
		}
	}
}

func TestWhatIsNoRecord(t *testing.T) {
	with := func(members string) string { return `{"type":"test","version":1,` + members + `}` }
	for _, row := range []struct{ rule, text string }{
		{"nothing", ""},
		{"spaces", "  "},
		{"null", "null"},
		{"a list", "[]"},
		{"a list that reads like an object", `["type","test","version",1]`},
		{"a string", `"a"`},
		{"a number", "1"},
		{"two objects", with(`"text":"a"`) + "{}"},
		{"more behind it", with(`"text":"a"`) + "x"},
		{"a comma at the end", with(``)},
		{"no type", `{"version":1}`},
		{"another type", `{"type":"code","version":1}`},
		{"the type in capitals", `{"type":"Test","version":1}`},
		{"a type that is null", `{"type":null,"version":1}`},
		{"a type under another name", `{"Type":"test","version":1}`},
		{"no version", `{"type":"test"}`},
		{"version null", `{"type":"test","version":null}`},
		{"version 0", `{"type":"test","version":0}`},
		{"version -1", `{"type":"test","version":-1}`},
		{"version 1.5", `{"type":"test","version":1.5}`},
		{"a version in quotes", `{"type":"test","version":"1"}`},
		{"a later version", `{"type":"test","version":2}`},
		{"a version that is too large", `{"type":"test","version":18446744073709551617}`},
		{"a member twice", with(`"text":"a","text":"a"`)},
		{"a member twice, once escaped", with(`"flag":true,"\u0066lag":false`)},
		{"an unknown member twice", with(`"x":1,"x":1`)},
		{"the version twice", with(`"version":1`)},
		{"what is not UTF-8", with("\"text\":\"\xff\"")},
		{"a member's name that is not UTF-8", with("\"\xff\":1")},
		{"a text that is null", with(`"text":null`)},
		{"a text that is a number", with(`"text":1`)},
		{"a text that is a list", with(`"text":["a"]`)},
		{"a text with two members", with(`"text":{"base64":"","x":1}`)},
		{"a text with another member", with(`"text":{"Base64":""}`)},
		{"a text with base64 twice", with(`"text":{"base64":"","base64":""}`)},
		{"a text with base64 that is null", with(`"text":{"base64":null}`)},
		{"a text with base64 that is none", with(`"text":{"base64":"%"}`)},
		{"base64 with bits at the end", with(`"text":{"base64":"/x=="}`)},
		{"texts that are null", with(`"texts":null`)},
		{"texts that are a text", with(`"texts":"a"`)},
		{"null among texts", with(`"texts":["a",null]`)},
		{"a list among texts", with(`"texts":[["a"]]`)},
		{"a flag that is null", with(`"flag":null`)},
		{"a flag that is a number", with(`"flag":1`)},
		{"a flag in quotes", with(`"flag":"true"`)},
		{"bytes that are null", with(`"bytes":null`)},
		{"bytes that are a list", with(`"bytes":[1]`)},
		{"bytes that are no base64", with(`"bytes":"a"`)},
		{"a time that is null", with(`"ms":null`)},
		{"a time in quotes", with(`"ms":"1"`)},
		{"a time with a fraction", with(`"ms":1.0`)},
		{"a time with an exponent", with(`"us":1e3`)},
		{"a time that is too large", with(`"us":9223372036854775808`)},
		{"a time that is zero", with(`"ms":-62135596800000`)},
		{"JSON that is null", with(`"json":null`)},
		{"JSON that is an object", with(`"json":{"a":1}`)},
		{"pairs that are null", with(`"pairs":null`)},
		{"pairs that are an object", with(`"pairs":{"a":"b"}`)},
		{"a pair of one", with(`"pairs":[["a"]]`)},
		{"a pair of three", with(`"pairs":[["a","b","c"]]`)},
		{"a pair that is null", with(`"pairs":[null]`)},
		{"a pair with null", with(`"pairs":[["a",null]]`)},
		{"a name twice", with(`"pairs":[["a","b"],["a","b"]]`)},
		{"more depth than anybody needs",
			with(`"x":` + strings.Repeat("[", 1<<16) + strings.Repeat("]", 1<<16))},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got, err := read(row.text)
			if err == nil || !strings.HasPrefix(err.Error(), "the record of a test cannot be read: ") {
				t.Errorf("%.100s was read as %v, %v", row.text, got, err)
			}
		})
	}
}

// A later release has two fields more. Who ignores the note grants no more; who ignores what
// the code is bound to does.
func TestVersions(t *testing.T) {
	type later struct{ Text, Note, Bound string }
	members := func(r *later) []Member {
		return []Member{Text("text", &r.Text), Text("note", &r.Note), Text("bound", &r.Bound).Needs(2)}
	}
	for _, row := range []struct {
		rule string
		in   later
		want string
		old  bool // whether the release before can read it
	}{
		{"what both know", later{Text: "a"}, `{"type":"test","version":1,"text":"a"}`, true},
		{"what may be ignored", later{Text: "a", Note: "b"}, `{"type":"test","version":1,"text":"a","note":"b"}`, true},
		{"what must not be", later{Text: "a", Bound: "c"}, `{"type":"test","version":2,"text":"a","bound":"c"}`, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			written, err := Marshal("test", members(&row.in))
			if err != nil || string(written) != row.want {
				t.Fatalf("%v\n got %s\nwant %s", err, written, row.want)
			}
			var again later
			if err := Unmarshal("test", written, members(&again)); err != nil || again != row.in {
				t.Errorf("the later release reads %v, %v", again, err)
			}
			old, err := read(row.want)
			if (err == nil) != row.old || row.old && old.Text != row.in.Text {
				t.Errorf("the earlier release reads %v, %v", old, err)
			}
			if err != nil && !strings.Contains(err.Error(), "has version 2, and this release reads versions up to 1") {
				t.Errorf("the error does not say what is wrong: %v", err)
			}
		})
	}
	var none later
	if err := Unmarshal("test", []byte(`{"type":"test","version":3}`), members(&none)); err == nil {
		t.Error("version 3 was read by a release that knows 2")
	}
}

func TestNothingIsShared(t *testing.T) {
	text := []byte(`{"type":"test","version":1,"text":"aaaa","texts":["bbbb"],"bytes":"AAAA",` +
		`"json":"cccc","pairs":[["dddd","eeee"]]}`)
	var got record
	if err := Unmarshal("test", text, got.members()); err != nil {
		t.Fatal(err)
	}
	for i := range text {
		text[i] = 'x'
	}
	want := record{
		Text: "aaaa", Texts: []string{"bbbb"}, Bytes: []byte{0, 0, 0},
		JSON: json.RawMessage("cccc"), Pairs: map[string]string{"dddd": "eeee"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("what was read has changed: %v", got)
	}
}
