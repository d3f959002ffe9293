package corpus

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var placeholderForm = regexp.MustCompile(`\{([A-Z][A-Z0-9_]*)(?::([^{}]*))?\}`)

// expand replaces placeholders. An unknown one is an error, because the request would be
// wrong. {PORT} is the port of the canary, a server that must never be called.
// {HINT:alice} is an ID token of the model for this user.
func (w *world) expand(text string) (string, error) {
	var errs []error
	text = placeholderForm.ReplaceAllStringFunc(text, func(placeholder string) string {
		parts := placeholderForm.FindStringSubmatch(placeholder)
		value, err := w.placeholder(parts[1], parts[2])
		if err != nil {
			errs = append(errs, fmt.Errorf("placeholder %s: %w", placeholder, err))
		}
		return value
	})
	return text, errors.Join(errs...)
}

func (w *world) placeholder(name, argument string) (string, error) {
	switch name {
	case "ISS":
		return issuer, nil
	case "LOGIN":
		return loginPage, nil
	case "PORT":
		return w.canaryPort()
	case "HINT":
		return hintFor(argument), nil
	case "REPEAT":
		text, count, ok := cutLast(argument, ":")
		n, err := strconv.Atoi(count)
		if !ok || err != nil || n < 0 || n > 64<<20 {
			return "", errors.New("want {REPEAT:text:N}")
		}
		return strings.Repeat(text, n), nil
	case "COOKIE_NAME":
		return changed(sessionCookie, argument)
	case "COOKIE_VALUE":
		sessionName, change, _ := strings.Cut(argument, ":")
		value, err := w.cookieOf(sessionName)
		if err != nil {
			return "", err
		}
		return changed(value, change)
	}
	value, ok := w.saved[name]
	if !ok {
		return "", errors.New("unknown, and no setup step saved it")
	}
	return changed(value, argument)
}

// changed spoils a correct value. Flipping changes the highest of the six bits of a
// base64url character, which is never padding.
func changed(value, change string) (string, error) {
	if value == "" {
		return "", errors.New("the value is empty")
	}
	last := len(value) - 1
	switch change {
	case "":
		return value, nil
	case "upper":
		return strings.ToUpper(value), nil
	case "truncate":
		return value[:last], nil
	case "flip-last":
		return value[:last] + flipped(value[last]), nil
	case "flip-first":
		return flipped(value[0]) + value[1:], nil
	}
	return "", fmt.Errorf("unknown change %q", change)
}

func flipped(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, c)
	if i < 0 {
		return "A"
	}
	return alphabet[i^32 : i^32+1]
}
