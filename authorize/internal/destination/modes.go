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

// Delivery is how a response travels: a redirect to URL or, where Form is not nil, these
// parameters posted to URL or, where Body is not nil, these in the response's body and no
// URL. The zero value means that nothing is proven.
type Delivery struct {
	URL  string
	Form []Param
	Body []Param
}

// A mode is one way for a response to travel.
type mode struct {
	name    string // the value of response_mode
	deliver func(at string, params []Param) Delivery

	// fits reports whether the mode is one for the redirect URI, and needs says what it
	// wants of it. Nil: it is one for all.
	fits  func(at string) bool
	needs string

	// listed is true where only a client that lists the mode may ask for it.
	listed bool
}

// modes are all that a request can name. Matching, validation and metadata read this
// table. The first is the default (OAuth 2.0 Multiple Response Type Encoding Practices
// §2.1 for query and fragment, OAuth 2.0 Form Post Response Mode).
//
// A link can name the mode. A client that reads its query and gets a fragment instead
// would leave the code in its address, where further redirects and scripts find it: so
// fragment has to be listed.
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

// body is no mode that a request could name: a name for responses out of band means it.
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

// CheckMode says why a request for this redirect URI may not name the mode. may are the
// modes that its client lists; nil: none, so that it may name those that are open to all.
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
