package destination

import (
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/uri"
	oautherr "github.com/usher-auth/usher/errors"
)

// Param is one parameter of a response.
type Param = uri.Param

// Delivery is how a response is sent. It is a redirect to URL. If Form is not nil, it is a
// form with these parameters that is posted to URL. If Link is not empty, it is a page with
// this link to an app. If Body is not nil, these parameters are in the response's body. The
// last two have no URL. The zero value means that no destination is proven.
type Delivery struct {
	URL  string
	Form []Param
	Link string
	Body []Param
}

// A mode is one way to send a response.
type mode struct {
	name    string // the value of response_mode
	deliver func(at string, params []Param) Delivery

	// fits reports whether the mode works for the redirect URI; needs says what kind of URI
	// it needs. A nil fits: it works for every URI.
	fits  func(at string) bool
	needs string

	// listed is true if only a client that lists the mode may ask for it.
	listed bool
}

// modes are all modes that a request can name. Matching, validation and metadata read this
// table. The first is the default (OAuth 2.0 Multiple Response Type Encoding Practices §2.1
// for query and fragment, OAuth 2.0 Form Post Response Mode).
//
// fragment has to be listed, because anybody can make a link that names the mode. A client
// that reads only its query would leave the code in its address, where further redirects
// and scripts find it.
var modes = []mode{
	{
		name: "query",
		deliver: func(at string, params []Param) Delivery {
			separator := "?"
			if _, query, found := strings.Cut(at, "?"); found {
				separator = "&"
				if query == "" || strings.HasSuffix(query, "&") {
					separator = ""
				}
			}
			return Delivery{URL: at + separator + uri.Encode(params)}
		},
	},
	{
		name:    "form_post",
		deliver: func(at string, params []Param) Delivery { return Delivery{URL: at, Form: params} },
		fits:    uri.TakesForms,
		needs:   "a redirect_uri with http or https",
	},
	{
		name: "fragment",
		deliver: func(at string, params []Param) Delivery {
			// No redirect URI has a fragment of its own: see uri.Check.
			return Delivery{URL: at + "#" + uri.Encode(params)}
		},
		listed: true,
	},
}

// body is the mode of an out-of-band name. A request cannot name it as response_mode.
var body = mode{
	deliver: func(_ string, params []Param) Delivery { return Delivery{Body: params} },
}

// Modes returns the names of all modes, the default first.
func Modes() []string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = m.name
	}
	return names
}

// CheckMode returns why a request for this redirect URI may not name the mode, or nil if it
// may. may are the modes that the client lists; nil: those that every client may name.
func CheckMode(name, at string, may []string) error {
	_, err := find(name, at, may)
	return err
}

func find(name, at string, may []string) (*mode, error) {
	i := slices.IndexFunc(modes, func(m mode) bool { return m.name == name })
	if i < 0 {
		return nil, oautherr.InvalidRequest.With("The response_mode is not supported.")
	}
	m := &modes[i]
	switch {
	case may == nil && m.listed, may != nil && !slices.Contains(may, name):
		return nil, &oautherr.Error{
			Code:        oautherr.InvalidRequest,
			Description: "The client is not registered for this response_mode.",
			Cause:       fmt.Errorf("the response_mode %q is not among the client's ResponseModes", name),
		}
	case m.fits != nil && !m.fits(at):
		return nil, oautherr.InvalidRequest.With(name + " needs " + m.needs + ".")
	}
	return m, nil
}
