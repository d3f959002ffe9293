package uri

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkPrivateUse accepts the scheme of an app: a reversed domain name of its maker,
// which has a dot (RFC 8252 §7.1), or one that is named, byte for byte.
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

// CheckPrivateUse reports what makes a name unusable as one of the schemes without a
// dot that a client may have.
func CheckPrivateUse(name string) error {
	switch {
	case !validScheme(name):
		return errors.New("is no scheme: write what stands before the colon, such as cursor")
	case strings.Contains(name, "."):
		return errors.New("has a dot: such schemes may be used without being named")
	case checkScheme(name) != nil:
		return errors.New("belongs to browsers or to the system: no client can have it")
	}
	return nil
}

// refusedSchemes mean something to browsers or to the system, so that an answer would
// be run, shown, sent on or lost. No client can have them, named or not, in whatever
// letters: browsers read them without regard to case.
var refusedSchemes = []string{
	"about", "android-app", "blob", "chrome", "data", "file", "filesystem", "ftp", "http", "https",
	"intent", "jar", "javascript", "ldap", "mailto", "res", "search-ms", "smb", "sms", "tel", "urn",
	"vbscript", "view-source", "ws", "wss",
}

// checkScheme accepts a scheme that an app may have for itself.
//
// All that begin with ms- belong to Windows. A reversed domain name does not begin so,
// because no top-level domain does. Those that end in -extension belong to browsers;
// they have no dot, and a reversed domain name may end so.
func checkScheme(scheme string) error {
	name := strings.ToLower(scheme)
	switch {
	case !validScheme(scheme):
		return errors.New("is not an absolute URI: it does not begin with a scheme")
	case name == "urn":
		return errors.New("is a name and no address: " +
			"for answers in the body set Client.OutOfBand")
	case name == "https" || name == "http":
		return fmt.Errorf("has the scheme %q, which has to be written in lower case", scheme)
	case slices.Contains(refusedSchemes, name), strings.HasPrefix(name, "ms-"),
		strings.HasSuffix(name, "-extension") && !strings.Contains(name, "."):
		return fmt.Errorf("has the scheme %.80q, which belongs to browsers or to the system "+
			"and is always refused, also in Client.PrivateUseSchemes", scheme)
	}
	return nil
}

// validScheme is the syntax of RFC 3986 §3.1.
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

// CheckName accepts a URN (RFC 8141 §2) in plain characters, which neither a browser nor
// a person takes for an address.
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
		return errors.New(`is no name after "urn:"`)
	}
	return nil
}
