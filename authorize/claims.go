package authorize

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxClaims is the longest claims parameter in bytes; it is stored with every code.
// maxClaimsDepth is how deeply it may be nested.
const (
	maxClaims      = 8192
	maxClaimsDepth = 16
)

// claimed is what the claims parameter requires of the sign-in.
type claimed struct {
	subject string   // the user, from the value of sub (OpenID Connect Core 1.0 §5.5.1)
	acr     []string // levels; the sign-in must have one of them (§5.5.1.1)
}

// claimsByPlace returns the members of id_token and of userinfo unchanged: the claims that
// the parameter requests at each place (OpenID Connect Core 1.0 §5.5). A claim whose value
// is null is requested without further conditions. Names are case-sensitive, as in JSON
// (RFC 8259 §8.3). Other members are ignored.
func claimsByPlace(claims json.RawMessage) (idToken, userinfo map[string]json.RawMessage, err error) {
	// Into maps, because encoding/json ignores case when it matches the names of a struct.
	var places map[string]json.RawMessage
	if err := json.Unmarshal(claims, &places); err != nil {
		return nil, nil, err
	}
	into := map[string]*map[string]json.RawMessage{"id_token": &idToken, "userinfo": &userinfo}
	for name, place := range into {
		if value, ok := places[name]; ok {
			if err := json.Unmarshal(value, place); err != nil {
				return nil, nil, err
			}
		}
	}
	return idToken, userinfo, nil
}

// demand is what the request requires of one claim (OpenID Connect Core 1.0 §5.5.1).
type demand struct {
	essential bool
	values    []string // the claim must have one of them
}

// readDemand reads the demand on a claim whose values are strings. An absent claim and null
// demand nothing.
func readDemand(claim json.RawMessage) (demand, error) {
	var members map[string]json.RawMessage
	if claim == nil {
		return demand{}, nil
	}
	if err := json.Unmarshal(claim, &members); err != nil {
		return demand{}, err
	}
	d, value := demand{}, (*string)(nil)
	known := map[string]any{"essential": &d.essential, "value": &value, "values": &d.values}
	for name, into := range known {
		if text, ok := members[name]; ok {
			if err := json.Unmarshal(text, into); err != nil {
				return demand{}, err
			}
		}
	}
	if value != nil {
		d.values = append([]string{*value}, d.values...)
	}
	return d, nil
}

// readClaims reads the claims parameter. It refuses anything but a single JSON object, and
// an object that has a member twice: two readers could choose different ones. Nil demands
// nothing.
func readClaims(claims json.RawMessage) (claimed, error) {
	if claims == nil {
		return claimed{}, nil
	}
	if len(claims) > maxClaims || !utf8.Valid(claims) {
		return claimed{}, errors.New("too long, or not UTF-8")
	}
	if err := strictObject(claims); err != nil {
		return claimed{}, err
	}
	idToken, userinfo, err := claimsByPlace(claims)
	if err != nil {
		return claimed{}, err
	}
	if len(idToken) > maxValues || len(userinfo) > maxValues {
		return claimed{}, errors.New("too many claims")
	}
	c := claimed{}
	for _, place := range []map[string]json.RawMessage{idToken, userinfo} {
		sub, err := readDemand(place["sub"])
		if err != nil {
			return claimed{}, err
		}
		for _, value := range sub.values {
			if value == "" || c.subject != "" && c.subject != value {
				return claimed{}, errors.New("sub asks for nobody or for two users")
			}
			c.subject = value
		}
	}
	acr, err := readDemand(idToken["acr"])
	if err != nil {
		return claimed{}, err
	}
	if acr.essential {
		c.acr = acr.values
	}
	return c, nil
}

// strictObject reads one JSON object to its end.
func strictObject(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	if err := rest(decoder, true, 1); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// rest reads the object or array that was just opened to its end.
func rest(decoder *json.Decoder, object bool, depth int) error {
	if depth > maxClaimsDepth {
		return errors.New("nested too deeply")
	}
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		if object {
			name, _ := token.(string)
			if seen[name] {
				return errors.New("a member is there twice")
			}
			seen[name] = true
			if token, err = decoder.Token(); err != nil {
				return err
			}
		}
		if open, ok := token.(json.Delim); ok {
			if err := rest(decoder, open == '{', depth+1); err != nil {
				return err
			}
		}
	}
	_, err := decoder.Token()
	return err
}
