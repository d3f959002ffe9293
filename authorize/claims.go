package authorize

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// maxClaims bounds the claims parameter, which is stored with every code, in bytes;
// maxClaimsDepth its nesting.
const (
	maxClaims      = 8192
	maxClaimsDepth = 16
)

// claimed is what the claims parameter demands of the sign-in.
type claimed struct {
	subject string   // the user, from the value of sub (OpenID Connect Core 1.0 §5.5.1)
	acr     []string // levels of which one is essential (§5.5.1.1)
}

// member is one member of the claims parameter that demands something.
type member struct {
	Essential bool
	Value     *string
	Values    []string
}

func (m *member) values() []string {
	switch {
	case m == nil:
		return nil
	case m.Value == nil:
		return m.Values
	}
	return append([]string{*m.Value}, m.Values...)
}

// readClaims refuses what is not one JSON object, and an object with a member twice,
// because two readers could choose differently. Nil demands nothing.
func readClaims(claims json.RawMessage) (claimed, error) {
	if claims == nil {
		return claimed{}, nil
	}
	if len(claims) > maxClaims {
		return claimed{}, errors.New("too long")
	}
	if err := strictObject(claims); err != nil {
		return claimed{}, err
	}
	var wanted struct {
		IDToken  struct{ Sub, ACR *member } `json:"id_token"`
		UserInfo struct{ Sub *member }      `json:"userinfo"`
	}
	if err := json.Unmarshal(claims, &wanted); err != nil {
		return claimed{}, err
	}
	c := claimed{}
	for _, value := range append(wanted.IDToken.Sub.values(), wanted.UserInfo.Sub.values()...) {
		if value == "" || c.subject != "" && c.subject != value {
			return claimed{}, errors.New("sub asks for nobody or for two users")
		}
		c.subject = value
	}
	if acr := wanted.IDToken.ACR; acr != nil && acr.Essential {
		c.acr = acr.values()
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
			// encoding/json matches names regardless of case, so twice means that.
			// By way of upper case, as some letters have two lower-case forms.
			name = strings.ToLower(strings.ToUpper(name))
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
