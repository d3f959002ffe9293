package main

import (
	"context"
	"net/http"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// unknown are parameters that would change the response, and that this endpoint does not
// support. With prompt, for instance, a request could fail after its profile was made.
var unknown = []string{
	"response_mode", "prompt", "max_age", "claims", "acr_values", "login_hint", "nonce",
}

// ownRules apply after the rules of the protocol and before a profile is made.
func ownRules(ctx context.Context, r *authorize.Request) error {
	for _, name := range unknown {
		if r.Parameter(name) != "" {
			return oautherr.InvalidRequest.With("The parameter " + name + " is not supported.")
		}
	}
	call := callOf(ctx)
	if call.client != r.ClientID {
		return oautherr.UnauthorizedClient.With("The API key belongs to another client.")
	}
	call.request = r // for whoAsks
	return nil
}

// refuse is the error page: JSON with only the codes of RFC 6749 §4.1 and login_required.
func refuse(w http.ResponseWriter, r *http.Request, p authorize.PageError) {
	switch p.Code {
	case oautherr.RedirectURIMismatch:
		p.Code = oautherr.InvalidRequest
	case oautherr.LoginRequired:
		p.Description = "The token in " + profileHeader +
			" is invalid or has expired. A request without a token gets a new profile."
	}
	authorize.ErrorJSON(w, r, p)
}
