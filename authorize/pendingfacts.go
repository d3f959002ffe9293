package authorize

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/uri"
)

// ClientFacts are what a consent page should show of a client (OAuth 2.1 §7.13, RFC 8252
// §8.6). The wording is the page's own. Every text in it comes from outside: escape it.
type ClientFacts struct {
	// ClientName is the client's name, or its ID without one. If SelfDescribed is true, it
	// is only what the client calls itself.
	ClientName string

	// ClientHost is the host of a client_id that is a URL, which the client controls. Show it
	// before the name. Empty: the client_id is no URL.
	ClientHost string

	// FirstParty: an application of the host's own. SelfDescribed: nobody of the host has
	// looked at the client, see [Client].Unvetted. Neither: the host has registered it.
	FirstParty    bool
	SelfDescribed bool

	// LoopbackOnly: all redirect URIs of the client are on the user's own machine, where any
	// program can pretend to be this client. Warn of that.
	LoopbackOnly bool

	// RedirectHost is where the response goes, as [Request.RedirectHost] has it, and
	// RedirectDiffers reports that ClientHost is another host, apart from the port.
	RedirectHost    string
	RedirectDiffers bool
}

// clientFacts are those of the request's client.
func (r *Request) clientFacts() ClientFacts {
	c := r.Client
	f := ClientFacts{
		ClientName:    c.DisplayName(),
		FirstParty:    c.firstParty(),
		SelfDescribed: c.Unvetted,
		LoopbackOnly:  len(c.RedirectURIs) > 0 && !slices.ContainsFunc(c.RedirectURIs, notOnLoopback),
		RedirectHost:  r.RedirectHost(),
	}
	if uri.TakesForms(c.ID) {
		f.ClientHost = uri.Host(c.ID)
		f.RedirectDiffers = withoutPort(c.ID) != withoutPort(r.RedirectURI)
	}
	return f
}

// withoutPort returns the host of a URL of the web; any other URI is returned as it is.
func withoutPort(address string) string {
	u, err := url.Parse(address)
	if err != nil || !uri.TakesForms(address) {
		return address
	}
	return strings.ToLower(hostOf(u))
}

func notOnLoopback(redirectURI string) bool {
	u, err := url.Parse(redirectURI)
	return err != nil || !uri.TakesForms(redirectURI) || !uri.IsLoopback(hostOf(u))
}

// addFacts looks up for a page what it should show beside the request itself. The account
// and what was granted before are those of the sign-in that r carries, where it is the one
// that was sent to the page.
func (h *Handler) addFacts(r *http.Request, p *Pending, w *waiting) (err error) {
	p.ClientFacts = p.Request.clientFacts()
	if p.Resources, err = h.resourcesOf(r, p.Request); err != nil {
		return err
	}
	p.NewScopes = slices.Clone(p.Request.Scopes)
	idToken, userInfo := p.Request.ClaimsBeyondScopes()
	p.ClaimsBeyondScopes = slices.Compact(slices.Sorted(slices.Values(slices.Concat(idToken, userInfo))))
	if p.Anew || w.For == nil {
		p.Subject = ""
		return nil
	}
	v := &visit{http: r, request: p.Request, client: p.Request.Client}
	if v.session, err = h.signedIn(r); err != nil {
		return err
	}
	if !v.session.SignedIn() || w.For.Key != signInKey(v.session) {
		p.Subject = ""
		return nil
	}
	if err := h.findConsent(v); err != nil {
		return err
	}
	if p.Request.GrantData = nil; v.remembered != nil {
		before := func(scope string) bool { return slices.Contains(v.remembered.Scopes, scope) }
		p.NewScopes = slices.DeleteFunc(p.NewScopes, before)
		p.GrantedScopes = without(p.Request.Scopes, p.NewScopes...)
	}
	return nil
}

// resourcesOf finds the resources of a request that waits, and puts their configured
// spelling into it. One that is gone is left out: the endpoint refuses the request.
func (h *Handler) resourcesOf(r *http.Request, request *Request) (found []Resource, err error) {
	if h.config.Resources == nil || len(request.Resources) > maxResources {
		return nil, nil
	}
	var ids []string
	for _, id := range request.Resources {
		resource, err := h.findResource(r.Context(), request.Client, id)
		if err != nil {
			return nil, err
		}
		if resource != nil && !slices.Contains(ids, resource.ID) {
			ids, found = append(ids, resource.ID), append(found, *resource)
		}
	}
	request.Resources = ids
	return found, nil
}
