package clientmeta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// checkJSON accepts one object of valid JSON (RFC 8259) in UTF-8 that is not too deep and in
// which no object has a member twice. Of such members parsers take different ones, so that a
// client would be somebody else for a firewall than it is here.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return &Error{Reason: "is not UTF-8"}
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); !json.Valid(data) {
		return &Error{Reason: "is malformed"}
	} else if trimmed[0] != '{' {
		return &Error{Reason: "is not an object"}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a number may be larger than any float
	var open []*object
	top := "" // the member of the outermost object that is being read
	for {
		token, err := decoder.Token()
		if err != nil {
			return &Error{Reason: "is malformed", Cause: err}
		}
		switch delim, _ := token.(json.Delim); delim {
		case '{', '[':
			if len(open) > 0 {
				open[len(open)-1].value()
			}
			if open = append(open, &object{list: delim == '['}); len(open) > MaxDepth {
				return &Error{Member: top, Reason: fmt.Sprintf("is nested deeper than %d levels", MaxDepth)}
			}
		case '}', ']':
			if open = open[:len(open)-1]; len(open) == 0 {
				return nil // valid JSON has nothing after it
			}
		default:
			in := open[len(open)-1]
			if !in.atName() {
				in.value()
				continue
			}
			name := token.(string)
			if len(open) == 1 {
				top = known(name)
			}
			if !in.name(name) {
				return &Error{Member: top, Reason: twice(len(open) == 1 && top != "")}
			}
		}
	}
}

// known returns the name of a member that is known, and nothing for others: they may be
// anything.
func known(name string) string {
	if names[name] {
		return name
	}
	return ""
}

func twice(known bool) string {
	if known {
		return "comes twice"
	}
	return "has a member twice"
}

// object is one that is being read, or a list.
type object struct {
	list  bool
	named bool // the next token is a value
	names map[string]bool
}

func (o *object) atName() bool { return !o.list && !o.named }
func (o *object) value()       { o.named = false }

// name notes the name of a member, and reports whether it is new.
func (o *object) name(name string) bool {
	if o.names[name] {
		return false
	}
	if o.names == nil {
		o.names = map[string]bool{}
	}
	o.names[name], o.named = true, true
	return true
}
