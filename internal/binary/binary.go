// Package binary is what the methods MarshalBinary and UnmarshalBinary of the records have
// in common: the form in which stores keep them.
//
// A record is one JSON object that a person can read:
//
//	{"type":"session","version":1,"id":"…","sub":"alice","auth_time_us":1770000000000000}
//
// Each type has a table, one line for each of its fields, by which it is written and read.
// A field that has its zero value is no member, so that nil can be told from empty. What is
// not UTF-8 is {"base64":"…"} in the place of a string. A time is a whole number since 1970
// in the unit that the member's name ends with.
//
// # How a version comes about
//
// Replicas of two releases share a store. A member that a release does not know is therefore
// ignored, and a new field is one more line of the table, as long as whoever ignores it
// grants no more than was written. Where that is not so, as with a key that the code is bound
// to, the line ends with the next version: Text("jkt", &c.JKT).Needs(2). A record in which
// that field is set then says version 2, and a release that knows only 1 refuses it. A record
// in which it is not set says version 1 as before.
//
// So the highest version that a release reads is the highest in the table. A line stays for
// ever, with its name and its meaning: a field that means something else has a new one.
package binary

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Member is a line of a table: a name in the record, and the field that it stands for.
type Member struct {
	name  string
	needs int // the version that a reader has to know
	field field
}

// Needs says that releases which know only versions before this one must refuse a record
// that has the member: ignoring it would grant more than was written.
func (m Member) Needs(version int) Member {
	m.needs = version
	return m
}

// field is a pointer to a field of a record. UnmarshalJSON is never given null, and keeps
// nothing of its argument.
type field interface {
	IsZero() bool
	json.Marshaler
	json.Unmarshaler
}

// Marshal writes a record of the type with the lowest version that its members need. The
// error names the member that has a value which could not be read again.
func Marshal(recordType string, members []Member) ([]byte, error) {
	var body bytes.Buffer
	version := 1
	for _, m := range members {
		if m.field.IsZero() {
			continue
		}
		value, err := m.field.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("the record of a %s cannot be written: %s: %w",
				recordType, m.name, err)
		}
		fmt.Fprintf(&body, ",%q:%s", m.name, value)
		version = max(version, m.needs)
	}
	return fmt.Appendf(nil, `{"type":%q,"version":%d%s}`, recordType, version, &body), nil
}

// Unmarshal reads a record of the type into the fields, which have to be zero, and shares no
// memory with it. After an error some of them may be set.
func Unmarshal(recordType string, record []byte, members []Member) error {
	if err := unmarshal(recordType, record, members); err != nil {
		return fmt.Errorf("the record of a %s cannot be read: %w", recordType, err)
	}
	return nil
}

func unmarshal(recordType string, record []byte, members []Member) error {
	values, err := object(record)
	if err != nil {
		return err
	}
	if string(values["type"]) != `"`+recordType+`"` {
		return fmt.Errorf("the type is not %q: is another record under this key?", recordType)
	}
	known := 1
	for _, m := range members {
		known = max(known, m.needs)
	}
	version, _ := strconv.Atoi(string(values["version"])) // of what is no number, 0
	if version < 1 {
		return errors.New("the version is not a whole number from 1 on")
	}
	if version > known {
		return fmt.Errorf("it has version %d, and this release reads versions up to %d: "+
			"a later one has written it, with something that must not be ignored", version, known)
	}
	for _, m := range members {
		value, there := values[m.name]
		if !there {
			continue
		}
		if err := m.field.UnmarshalJSON(value); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// object returns the members of a JSON object by their exact names. Package json would take
// names in any case, the last of several members, and other characters for what is not UTF-8.
func object(text []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	begin, _ := decoder.Token()
	if !utf8.Valid(text) || !json.Valid(text) || begin != json.Delim('{') {
		return nil, errors.New("it is not one JSON object in UTF-8")
	}
	values := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("the member %.40q is there twice", name)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

// is reports whether a value begins as one of its kind does, which null never does.
func is(value []byte, first byte) bool { return bytes.IndexByte(value, first) == 0 }

// Text is a string that may have any bytes in it.
func Text(name string, s *string) Member { return Member{name: name, field: (*text)(s)} }

type text string

func (t *text) IsZero() bool { return *t == "" }

func (t *text) MarshalJSON() ([]byte, error) {
	if !utf8.ValidString(string(*t)) {
		encoded := base64.StdEncoding.EncodeToString([]byte(*t))
		return fmt.Appendf(nil, `{"base64":"%s"}`, encoded), nil
	}
	// Not json.Marshal, which makes \u0026 of the & in a URL.
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(string(*t))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

var errText = errors.New(`it is neither a string nor {"base64":"…"}`)

func (t *text) UnmarshalJSON(value []byte) error {
	if is(value, '"') {
		return json.Unmarshal(value, (*string)(t))
	}
	if !is(value, '{') {
		return errText
	}
	encoded, err := object(value)
	if err != nil {
		return err
	}
	var raw data
	if len(encoded) != 1 || raw.UnmarshalJSON(encoded["base64"]) != nil {
		return errText
	}
	*t = text(raw)
	return nil
}

// Texts is a list of strings; nil and empty are two things.
func Texts(name string, list *[]string) Member { return Member{name: name, field: (*texts)(list)} }

type texts []string

func (l *texts) IsZero() bool { return *l == nil }

func (l *texts) MarshalJSON() ([]byte, error) {
	parts := make([]string, len(*l))
	for i, s := range *l {
		part, err := (*text)(&s).MarshalJSON()
		if err != nil {
			return nil, err
		}
		parts[i] = string(part)
	}
	return []byte("[" + strings.Join(parts, ",") + "]"), nil
}

func (l *texts) UnmarshalJSON(value []byte) error {
	if !is(value, '[') {
		return errors.New("it is not a list")
	}
	var list []text // each of which reads itself, null too
	if err := json.Unmarshal(value, &list); err != nil {
		return err
	}
	*l = make(texts, len(list))
	for i, t := range list {
		(*l)[i] = string(t)
	}
	return nil
}

// Flag is true or is not there.
func Flag(name string, b *bool) Member { return Member{name: name, field: (*flag)(b)} }

type flag bool

func (f *flag) IsZero() bool                 { return !bool(*f) }
func (f *flag) MarshalJSON() ([]byte, error) { return json.Marshal(bool(*f)) }

func (f *flag) UnmarshalJSON(value []byte) error {
	if string(value) != "true" && string(value) != "false" {
		return errors.New("it is neither true nor false")
	}
	*f = string(value) == "true"
	return nil
}

// Bytes are base64; nil and empty are two things.
func Bytes(name string, b *[]byte) Member { return Member{name: name, field: (*data)(b)} }

type data []byte

func (d *data) IsZero() bool                 { return *d == nil }
func (d *data) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(*d)) }

func (d *data) UnmarshalJSON(value []byte) error {
	var encoded string
	if !is(value, '"') {
		return errors.New("it is not a string of base64")
	}
	if err := json.Unmarshal(value, &encoded); err != nil {
		return err
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	*d = decoded
	return err
}

// Millis is a time in UTC of which what is less than a millisecond is cut off.
func Millis(name string, t *time.Time) Member {
	return Member{name: name, field: moment{t, time.Millisecond}}
}

// Micros is a time in UTC of which what is less than a microsecond is cut off.
func Micros(name string, t *time.Time) Member {
	return Member{name: name, field: moment{t, time.Microsecond}}
}

type moment struct {
	at   *time.Time
	unit time.Duration
}

func (m moment) IsZero() bool { return m.at.IsZero() }

// MarshalJSON refuses a time whose number does not fit, and one that would come back as the
// zero time, which means "never": a code that was used would not be any more.
func (m moment) MarshalJSON() ([]byte, error) {
	n := m.at.Unix()*int64(time.Second/m.unit) + int64(m.at.Nanosecond())/int64(m.unit)
	back := m.time(n)
	if cut := m.at.Sub(back); cut < 0 || cut >= m.unit || back.IsZero() {
		return nil, fmt.Errorf("a time of the year %d cannot be kept", m.at.UTC().Year())
	}
	return json.Marshal(n)
}

func (m moment) UnmarshalJSON(value []byte) error {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return errors.New("it is not a whole number")
	}
	if *m.at = m.time(n); m.at.IsZero() {
		return errors.New("it is the zero time, which is left out")
	}
	return nil
}

func (m moment) time(n int64) time.Time {
	perSecond := int64(time.Second / m.unit)
	return time.Unix(n/perSecond, n%perSecond*int64(m.unit)).UTC()
}
