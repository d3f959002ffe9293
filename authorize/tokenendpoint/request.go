package tokenendpoint

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/form"
	oautherr "github.com/usher-auth/usher/errors"
)

// Request is a request to the token endpoint, or another of the host's, of a client that has
// authenticated. A public client has only named itself. It prints without its parameters.
type Request struct {
	// Client is the client as it is stored.
	Client *authorize.Client

	// GrantType is the parameter grant_type; empty when it was not sent.
	GrantType string

	// Resources are the values of resource (RFC 8707), as sent. For a code they are checked;
	// a grant of the host's checks them against what was granted.
	Resources []string

	// HTTP is the request itself, for what else it proves, such as by a DPoP header or a TLS
	// certificate. Its body has been read.
	HTTP *http.Request

	form url.Values
}

// Get returns the value of a parameter, such as refresh_token, scope or token: UTF-8 without
// control characters. It is empty when the parameter was not sent. client_secret is never there.
func (r *Request) Get(name string) string { return r.form.Get(name) }

// LogValue keeps the parameters out of logs.
func (r Request) LogValue() slog.Value {
	if r.Client == nil {
		return slog.StringValue("request")
	}
	return slog.StringValue("request by " + r.Client.ID)
}

// String keeps the parameters out of logs.
func (r Request) String() string { return r.LogValue().String() }

// GoString keeps the parameters out of logs.
func (r Request) GoString() string { return r.String() }

// maxForm is how many bytes of a body are read.
const maxForm = 64 << 10

var (
	errMethod    = oautherr.InvalidRequest.With("This address answers POST only.")
	errMediaType = oautherr.InvalidRequest.With("The body has to be of type application/x-www-form-urlencoded.")
	errQuery     = oautherr.InvalidRequest.With("The parameters belong into the body, and there is a query.")
	errTooLarge  = oautherr.InvalidRequest.With("The request is too large.")
	errMalformed = oautherr.InvalidRequest.With("The body has a malformed escape or a character that needs one.")
	errNotText   = oautherr.InvalidRequest.With("The request has a value that is not text.")
	errRepeated  = oautherr.InvalidRequest.With("The request repeats a parameter.")
	errBodyTaken = errors.New("something in front of the handler has read the body: it must not")
)

// readForm reads the parameters (RFC 6749 §3.2). What cannot be read without doubt is refused.
func readForm(r *http.Request) (url.Values, error) {
	switch {
	case r.Method != http.MethodPost:
		return nil, errMethod
	case r.PostForm != nil:
		return nil, hostFailed("the host", errBodyTaken)
	case !form.Is(r.Header):
		return nil, errMediaType
	case r.URL != nil && r.URL.RawQuery != "":
		return nil, errQuery
	}
	body, err := form.Read(r.Body, maxForm)
	switch {
	case err == form.ErrTooLarge:
		return nil, errTooLarge
	case err != nil:
		return nil, oautherr.InvalidRequest.Because(err)
	}
	parameters, err := form.Parse(body)
	if err != nil {
		return nil, errMalformed
	}
	for name, values := range parameters {
		for _, value := range values {
			if !destination.ValidText(value, maxForm) {
				return nil, errNotText
			}
		}
		if len(values) > 1 && name != "resource" {
			return nil, errRepeated
		}
	}
	return parameters, nil
}
