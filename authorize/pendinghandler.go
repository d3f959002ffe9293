package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	oautherr "github.com/usher-auth/usher/errors"
)

// pendingResponse is the response of [Handler.PendingHandler].
type pendingResponse struct {
	Active     bool                `json:"active"`
	Params     map[string][]string `json:"params,omitempty"`
	ClientID   string              `json:"client_id,omitempty"`
	ClientName string              `json:"client_name,omitempty"`
	Scope      string              `json:"scope,omitempty"`
	Subject    string              `json:"subject,omitempty"`

	ClientHost      string            `json:"client_host,omitempty"`
	FirstParty      bool              `json:"first_party,omitempty"`
	SelfDescribed   bool              `json:"self_described,omitempty"`
	LoopbackOnly    bool              `json:"loopback_only,omitempty"`
	RedirectHost    string            `json:"redirect_host,omitempty"`
	RedirectDiffers bool              `json:"redirect_differs,omitempty"`
	Resources       []pendingResource `json:"resources,omitempty"`

	Interaction string `json:"interaction,omitempty"`
	Reason      Reason `json:"reason,omitempty"`
	IssuedAt    int64  `json:"iat,omitempty"`
	ExpiresAt   int64  `json:"exp,omitempty"`
	ResumeURL   string `json:"resume_url,omitempty"`
	DenyURL     string `json:"deny_url,omitempty"`
}

type pendingResource struct {
	ID   string `json:"resource"`
	Name string `json:"resource_name"`
}

// PendingHandler serves the content of a waiting request to a page in another process that
// has no keys to read it. POST a form with req to get a JSON object with "active". If
// "active" is true, it also has "params" (name to list of values), "client_id" and
// "client_name" of the stored client, "scope" (the requested scopes with the defaults
// filled in, separated by spaces), "subject" (the user that the client asked for, if any),
// "interaction", "reason", "iat", "exp", "resume_url" and "deny_url". For a consent page it
// has "client_host", "first_party", "self_described", "loopback_only", "redirect_host" and
// "redirect_differs" (see [ClientFacts]), and "resources", a list of objects with "resource"
// and "resource_name".
//
// For a request that is expired, damaged or of another endpoint, or whose client or redirect
// URI no longer exists, it is {"active":false}. If a store fails the status is 503, with
// Retry-After if the error says when to try again.
//
// The response says nothing about the signed-in user and earlier consent, and nothing that
// the holder of req could not learn otherwise. Still, mount it where only the host's own
// pages can reach it, and require them to authenticate.
func (h *Handler) PendingHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		p, err := h.readParams(r)
		if r.Method != http.MethodPost || err != nil {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(pendingResponse{})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
		defer cancel()
		response, err := h.describePending(ctx, p.get("req"))
		if err != nil {
			h.log.ErrorContext(ctx, "authorize: PendingHandler", "error", err)
			if after := oautherr.Of(err).RetryAfterHeader(); after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(response)
	})
}

// describePending fails only if a store does.
func (h *Handler) describePending(ctx context.Context, req string) (pendingResponse, error) {
	w, err := h.pending.open(req)
	if err != nil {
		return pendingResponse{}, nil
	}
	p := pendingOf(w, req, h.config.Endpoint)
	client, to, err := h.identify(ctx, p.Request.params)
	if failed := (*reasoned)(nil); errors.As(err, &failed) &&
		(failed.reason == ReasonStoreFailed || failed.reason == ReasonClientUnreachable) {
		return pendingResponse{}, err
	}
	if err != nil {
		return pendingResponse{}, nil
	}
	p.Request.fillIn(&h.config, client, to.URI())
	found, err := h.resourcesOf((&http.Request{}).WithContext(ctx), p.Request)
	if err != nil {
		return pendingResponse{}, err
	}
	resources := make([]pendingResource, len(found))
	for i, resource := range found {
		resources[i] = pendingResource{resource.ID, resource.DisplayName()}
	}
	facts := p.Request.clientFacts()
	return pendingResponse{
		Active:      true,
		Params:      w.Params,
		ClientID:    client.ID,
		ClientName:  client.DisplayName(),
		Scope:       strings.Join(p.Request.Scopes, " "),
		Subject:     p.Request.Subject,
		Interaction: w.Page,
		Reason:      w.Reason,
		IssuedAt:    p.IssuedAt.Unix(),
		ExpiresAt:   p.ExpiresAt.Unix(),
		ResumeURL:   p.ResumeURL,
		DenyURL:     p.DenyURL,

		ClientHost:      facts.ClientHost,
		FirstParty:      facts.FirstParty,
		SelfDescribed:   facts.SelfDescribed,
		LoopbackOnly:    facts.LoopbackOnly,
		RedirectHost:    facts.RedirectHost,
		RedirectDiffers: facts.RedirectDiffers,
		Resources:       resources,
	}, nil
}
