package authorize

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// maxClaimsDepth bounds the nesting of the claims parameter.
const maxClaimsDepth = 16

// claimedSubject returns the user that the claims parameter asks for: the value of
// sub (OpenID Connect Core 1.0 §5.5.1). It refuses what is not one JSON object,
// and an object with a member twice, because two readers could choose differently.
func claimedSubject(claims json.RawMessage) (string, error) {
	if claims == nil {
		return "", nil
	}
	if err := strictObject(claims); err != nil {
		return "", err
	}
	type section struct {
		Sub *struct {
			Value  *string
			Values []string
		}
	}
	var wanted struct {
		IDToken  *section `json:"id_token"`
		UserInfo *section `json:"userinfo"`
	}
	if err := json.Unmarshal(claims, &wanted); err != nil {
		return "", err
	}
	subject := ""
	for _, s := range []*section{wanted.IDToken, wanted.UserInfo} {
		if s == nil || s.Sub == nil {
			continue
		}
		values := s.Sub.Values
		if s.Sub.Value != nil {
			values = append(values, *s.Sub.Value)
		}
		for _, value := range values {
			if value == "" || subject != "" && subject != value {
				return "", errors.New("sub asks for nobody or for two users")
			}
			subject = value
		}
	}
	return subject, nil
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
