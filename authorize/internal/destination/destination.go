// Package destination holds the proof that a response may be sent to a redirect URI, and
// says how it gets there. The rules about the URI itself are in package uri.
//
// Only [Match] creates a [Destination] with an address. The code that sends a response
// needs a Destination, so it cannot send one to an address that was not proven. The zero
// value has no address: it can only lead to the error page.
package destination

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/usher-auth/usher/authorize/internal/uri"
)

// Registration is what a client has registered.
type Registration struct {
	URIs              []string
	PrivateUseSchemes []string // those without a dot that URIs may have
	OutOfBand         string   // the name of the delivery in the response's body
	DefaultSingle     bool     // an absent redirect_uri may mean the only registered one
	AnyLoopbackPort   bool     // any port for a loopback URI that is registered with one too
	Modes             []string // that a request may name; nil: those that every client may name
	ReturnPage        bool     // a URI that is not of http or https is a link on a page
}

// Destination is a proven redirect URI, or a proven out-of-band name, with the mode and the
// state of the response.
type Destination struct {
	uri   string
	mode  *mode // never nil beside a uri
	state string
	link  bool // on a page, in place of a redirect
}

// MaxState is the longest state that is returned, in bytes.
const MaxState = 8192

// ErrMissing says that the request names no redirect URI and that there is no default.
var ErrMissing = errors.New("redirect_uri is missing")

// Match proves that requested is the registered out-of-band name or one of the registered
// redirect URIs, byte for byte except for the exceptions of the registration, and that the
// registered value is safe. An empty mode, or one that this client may not use for this
// URI, means the default mode. A state that cannot be returned unchanged is not returned.
func Match(requested string, reg Registration, mode, state string) (Destination, error) {
	if !ValidText(state, MaxState) {
		state = ""
	}
	if requested != "" && requested == reg.OutOfBand {
		if err := uri.CheckName(requested); err != nil {
			return Destination{}, fmt.Errorf("the name for responses out of band %w", err)
		}
		return Destination{uri: requested, mode: &body, state: state}, nil
	}
	registered := requested
	if requested == "" || !slices.Contains(reg.URIs, requested) {
		var err error
		if registered, err = reg.inexactMatch(requested); err != nil {
			return Destination{}, err
		}
	}
	if err := uri.Check(registered, reg.PrivateUseSchemes...); err != nil {
		return Destination{}, fmt.Errorf("the registered redirect URI %.200q %w", registered, err)
	}
	if requested == "" {
		requested = registered
	}
	to := Destination{uri: requested, mode: &modes[0], state: state}
	to.link = reg.ReturnPage && !uri.TakesForms(requested)
	if mode != "" {
		if named, err := find(mode, requested, reg.Modes); err == nil {
			to.mode = named
		}
	}
	return to, nil
}

// inexactMatch returns the registered URI for a request that does not name it byte for
// byte: the only registered one, or one on loopback with another port.
func (reg Registration) inexactMatch(requested string) (registered string, err error) {
	if requested == "" {
		if !reg.DefaultSingle || len(reg.URIs) != 1 {
			return "", ErrMissing
		}
		return reg.URIs[0], nil
	}
	if got, ok := uri.CutLoopbackPort(requested); ok {
		for _, registered := range reg.URIs {
			want, ok := uri.CutLoopbackPort(registered)
			same := ok && got.Host == want.Host && got.Rest == want.Rest
			if same && (want.Port == "" || reg.AnyLoopbackPort) {
				return registered, nil
			}
		}
	}
	return "", errors.New("redirect_uri is not registered: " + uri.Explain(requested, reg.URIs))
}

// URI returns the proven redirect URI or name, empty for the zero value.
func (d Destination) URI() string { return d.uri }

// OutOfBand reports whether the parameters go into the response's body: there is no
// address.
func (d Destination) OutOfBand() bool { return d.mode == &body }

// WithStateAndIssuer returns the parameters of a response: those given, then state if the
// request had one, then iss (RFC 9207 §2). Empty values are left out.
func (d Destination) WithStateAndIssuer(issuer string, given ...Param) []Param {
	params := slices.Concat(given, []Param{{Name: "state", Value: d.state}, {Name: "iss", Value: issuer}})
	return slices.DeleteFunc(params, func(p Param) bool { return p.Value == "" })
}

// Deliver returns how a response gets to the destination. The redirect URI's own bytes stay
// as they are. For the zero value the Delivery is empty.
func (d Destination) Deliver(params []Param) Delivery {
	if d.mode == nil {
		return Delivery{}
	}
	delivery := d.mode.deliver(d.uri, params)
	if d.link {
		return Delivery{Link: delivery.URL}
	}
	return delivery
}

// ValidText reports whether the text can be returned byte for byte in every response mode:
// UTF-8 without control characters, and not longer than most, in bytes.
func ValidText(text string, most int) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] == 0x7f {
			return false
		}
	}
	return len(text) <= most && utf8.ValidString(text)
}
