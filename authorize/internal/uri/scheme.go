package uri

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkPrivateUse accepts the scheme of an app: a reversed domain name of the app's maker,
// which has a dot (RFC 8252 §7.1), or a scheme in named, byte for byte.
func checkPrivateUse(scheme, rest string, named []string) error {
	if err := checkScheme(scheme); err != nil {
		return err
	}
	if !strings.Contains(scheme, ".") && !slices.Contains(named, scheme) {
		return fmt.Errorf("has the scheme %.80q, which is neither https nor a private-use one "+
			"such as com.example.app: if it belongs to an app of this client, "+
			"put it into Client.PrivateUseSchemes, in the same letters", scheme)
	}
	if strings.Trim(rest, "/") == "" && len(rest) <= 2 {
		return errors.New("has nothing after its scheme")
	}
	return nil
}

// CheckPrivateUse returns why a name cannot be one of the client's schemes without a dot,
// or nil if it can.
func CheckPrivateUse(name string) error {
	switch {
	case !validScheme(name):
		return errors.New("is no scheme: write the part before the colon, such as cursor")
	case strings.Contains(name, "."):
		return errors.New("has a dot: such schemes may be used without being named")
	case checkScheme(name) != nil:
		return errors.New("belongs to browsers or to the system: no client can have it")
	}
	return nil
}

// refusedSchemes have a meaning for browsers or the system, so that a response would be
// run, shown, forwarded or lost. No client can have them, even if it names them. Case is
// ignored, as browsers ignore it.
var refusedSchemes = []string{
	"about", "android-app", "blob", "chrome", "data", "file", "filesystem", "ftp", "http", "https",
	"intent", "jar", "javascript", "ldap", "mailto", "res", "search-ms", "smb", "sms", "tel", "urn",
	"vbscript", "view-source", "ws", "wss",
}

// checkScheme accepts a scheme that an app may have for itself.
//
// All schemes that begin with ms- belong to Windows. A reversed domain name cannot begin
// with it, because no top-level domain does. Schemes without a dot that end in -extension
// belong to browsers. A reversed domain name, which has a dot, may end in it.
func checkScheme(scheme string) error {
	name := strings.ToLower(scheme)
	switch {
	case !validScheme(scheme):
		return errors.New("is not an absolute URI: it does not begin with a scheme")
	case name == "urn":
		return errors.New("is a name and no address: " +
			"for responses in the body set Client.OutOfBand")
	case name == "https" || name == "http":
		return fmt.Errorf("has the scheme %q, which has to be written in lower case", scheme)
	case slices.Contains(refusedSchemes, name), strings.HasPrefix(name, "ms-"),
		strings.HasSuffix(name, "-extension") && !strings.Contains(name, "."):
		return fmt.Errorf("has the scheme %.80q, which belongs to browsers or to the system "+
			"and is always refused, also in Client.PrivateUseSchemes", scheme)
	}
	return nil
}

// validScheme reports whether the text has the syntax of a scheme (RFC 3986 §3.1).
func validScheme(scheme string) bool {
	for i := range len(scheme) {
		c := scheme[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return scheme != ""
}

// CheckName accepts a URN (RFC 8141 §2) of letters, digits and ":-._". Neither a browser
// nor a person can mistake it for an address.
func CheckName(name string) error {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			strings.IndexByte(":-._", c) < 0 {
			return fmt.Errorf("has a character that is neither a letter, a digit "+
				"nor one of \":-._\": %q", c)
		}
	}
	if !strings.HasPrefix(name, "urn:") || len(name) == len("urn:") {
		return errors.New(`must be "urn:" and a name`)
	}
	return nil
}
