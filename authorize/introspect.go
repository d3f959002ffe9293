package authorize

import (
	"encoding/json"
	"net/http"
)

// introspection is what [Handler.Introspection] answers.
type introspection struct {
	Active      bool                `json:"active"`
	Params      map[string][]string `json:"params,omitempty"`
	Subject     string              `json:"subject,omitempty"`
	Interaction string              `json:"interaction,omitempty"`
	Reason      Reason              `json:"reason,omitempty"`
	IssuedAt    int64               `json:"iat,omitempty"`
	ExpiresAt   int64               `json:"exp,omitempty"`
	ResumeURL   string              `json:"resume_url,omitempty"`
	DenyURL     string              `json:"deny_url,omitempty"`
}

// Introspection serves the content of a sealed request to a page in another
// process that has no keys to read it: POST a form with req, and get JSON with
// "active", and where that is true "params" (name to list of values), "subject" (the
// user asked for, if any), "interaction", "reason", "iat", "exp", "resume_url" and
// "deny_url". A request that is expired, damaged or of another endpoint is
// {"active":false}.
//
// It tells nothing that the holder of req could not read in it. Mount it where only
// the host's own pages reach it all the same, behind whatever they authenticate with.
func (h *Handler) Introspection() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		answer := introspection{}
		p, err := h.readBody(r)
		if r.Method != http.MethodPost || err != nil {
			w.WriteHeader(http.StatusBadRequest)
		} else if s, err := h.reader().open(p.get("req")); err == nil {
			answer = h.introspect(s, p.get("req"))
		}
		json.NewEncoder(w).Encode(answer)
	})
}

func (h *Handler) introspect(s *sealed, req string) introspection {
	p := pendingOf(s, req, h.config.Endpoint)
	return introspection{
		Active:      true,
		Params:      s.Params,
		Subject:     p.Request.Subject,
		Interaction: s.Page,
		Reason:      s.Reason,
		IssuedAt:    s.IssuedAt,
		ExpiresAt:   s.ExpiresAt,
		ResumeURL:   p.ResumeURL,
		DenyURL:     p.DenyURL,
	}
}
