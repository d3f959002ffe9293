package binary

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// What only the records of package authorize have.

// JSON is a text, because JSON inside of JSON would lose its white space; nil and empty are
// two things.
func JSON(name string, raw *json.RawMessage) Member {
	return Member{name: name, field: (*document)(raw)}
}

type document json.RawMessage

func (d *document) IsZero() bool { return *d == nil }

func (d *document) MarshalJSON() ([]byte, error) {
	t := text(*d)
	return t.MarshalJSON()
}

func (d *document) UnmarshalJSON(value []byte) error {
	var t text
	err := t.UnmarshalJSON(value)
	*d = document(t)
	return err
}

// Pairs are the entries of a map as lists of two, in the order of their names: the name of a
// JSON member could not have any bytes in it. Nil and empty are two things.
func Pairs(name string, m *map[string]string) Member {
	return Member{name: name, field: (*pairs)(m)}
}

type pairs map[string]string

func (p *pairs) IsZero() bool { return *p == nil }

func (p *pairs) MarshalJSON() ([]byte, error) {
	out := []byte("[")
	for i, name := range slices.Sorted(maps.Keys(*p)) {
		if i > 0 {
			out = append(out, ',')
		}
		pair, err := (&texts{name, (*p)[name]}).MarshalJSON()
		if err != nil {
			return nil, err
		}
		out = append(out, pair...)
	}
	return append(out, ']'), nil
}

func (p *pairs) UnmarshalJSON(value []byte) error {
	if !is(value, '[') {
		return errors.New("it is not a list")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return err
	}
	*p = make(pairs, len(list))
	for _, value := range list {
		var pair texts
		if err := pair.UnmarshalJSON(value); err != nil || len(pair) != 2 {
			return errors.New("it has something in it that is not a name with a value")
		}
		if _, twice := (*p)[pair[0]]; twice {
			return errors.New("a name is there twice")
		}
		(*p)[pair[0]] = pair[1]
	}
	return nil
}
