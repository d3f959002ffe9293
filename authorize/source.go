package authorize

import (
	oautherr "github.com/usher-auth/usher/errors"
)

// settleSource finds out where the parameters come from: from the request itself, as all
// do today. A pushed request (RFC 9126) and a signed one (RFC 9101) would be two more
// cases, which replace the parameters before the redirect URI among them is proven. What
// is refused here is told by a rule, when it is known whom to tell.
func settleSource(v *visit) error {
	request, uri := v.params.get("request"), v.params.get("request_uri")
	switch {
	case request != "" && uri != "":
		v.source = oautherr.InvalidRequest.With("request and request_uri exclude each other.")
	case request != "":
		v.source = oautherr.RequestNotSupported
	case uri != "":
		v.source = oautherr.RequestURINotSupported
	case v.params.get("registration") != "":
		v.source = oautherr.RegistrationNotSupported
	case v.client.RequirePushed:
		v.source = oautherr.InvalidRequest.With("This client has to push its requests.")
	}
	return nil
}
