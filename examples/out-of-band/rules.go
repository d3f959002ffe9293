package main

import (
	"context"
	"net/http"

	"github.com/usher-auth/usher/authorize"
	oautherr "github.com/usher-auth/usher/errors"
)

// unknown are parameters that would change the answer, and that do not exist here. A
// prompt, for instance, could end in a refusal when the profile is there already.
var unknown = []string{
	"response_mode", "prompt", "max_age", "claims", "acr_values", "login_hint", "nonce",
}

// ownRules come after those of the protocol and before anybody has a profile.
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

// refuse is the error page: JSON with the codes that RFC 6749 §4.1 has, and
// login_required.
func refuse(w http.ResponseWriter, r *http.Request, p authorize.PageError) {
	switch p.Code {
	case oautherr.RedirectURIMismatch:
		p.Code = oautherr.InvalidRequest
	case oautherr.LoginRequired:
		p.Description = "The token in " + profileHeader +
			" is invalid or has expired. Without one there is a new profile."
	}
	authorize.ErrorJSON(w, r, p)
}
