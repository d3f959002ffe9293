package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/authorize/internal/clientmeta"
	oautherr "github.com/usher-auth/usher/errors"
)

// maxBody is how much of a request is read, in bytes. Logos and software statements come as
// text too.
const maxBody = 16 << 10

// information is the answer (RFC 7591 §3.2.1): what is registered.
type information struct {
	ClientID      string   `json:"client_id"`
	IssuedAt      int64    `json:"client_id_issued_at"`
	ClientName    string   `json:"client_name,omitempty"`
	RedirectURIs  []string `json:"redirect_uris"`
	GrantTypes    []string `json:"grant_types"`
	ResponseTypes []string `json:"response_types"`
	AuthMethod    string   `json:"token_endpoint_auth_method"`
	Scope         string   `json:"scope"`
}

// register answers a POST.
func (s *Store) register(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.config.Timeout)
	defer cancel()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	m, err := readMetadata(r)
	if err == nil {
		err = s.check(m)
	}
	issued, registration := s.period(), Registration{}
	if err == nil {
		registration, err = s.seal(m, issued)
	}
	if err == nil {
		err = s.ask(ctx, registration)
	}
	if err != nil {
		s.refuse(ctx, w, registration, err)
		return
	}
	s.report(ctx, Event{Kind: EventRegistered, Registration: registration})
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(information{
		ClientID:      registration.ClientID,
		IssuedAt:      issued.Unix(),
		ClientName:    registration.ClientName,
		RedirectURIs:  m.RedirectURIs, // as the client knows them
		GrantTypes:    s.grantTypes(m),
		ResponseTypes: []string{"code"},
		AuthMethod:    "none",
		Scope:         strings.Join(s.config.Scopes, " "),
	})
}

// readMetadata reads what the client says of itself.
func readMetadata(r *http.Request) (*clientmeta.Metadata, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return nil, oautherr.InvalidClientMetadata.With("The Content-Type is not application/json.")
	}
	if r.Body == nil { // as in an adapter for functions
		return nil, oautherr.InvalidClientMetadata.With("There is no body.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, &oautherr.Error{
			Code: oautherr.InvalidClientMetadata, Description: "The body cannot be read.", Cause: err,
		}
	}
	return clientmeta.Read(body, maxBody)
}

// check checks all but the size of the client_id and what the host says. See the package
// documentation for the method.
func (s *Store) check(m *clientmeta.Metadata) error {
	if err := m.CheckRedirectURIs(s.config.AppSchemes); err != nil {
		return err
	}
	if err := m.CheckCode(); err != nil {
		return err
	}
	replaced := []string{"", "none", "client_secret_basic", "client_secret_post"}
	if !slices.Contains(replaced, m.TokenEndpointAuthMethod) && !m.Offers("none") {
		return &clientmeta.Error{Member: "token_endpoint_auth_method", Reason: "is not none, and only public " +
			"clients can register"}
	}
	return nil
}

// grantTypes are those that the client asks for and may have.
func (s *Store) grantTypes(m *clientmeta.Metadata) []string {
	types := []string{"authorization_code"}
	for _, asked := range m.GrantTypes {
		if slices.Contains(s.config.GrantTypes, asked) && !slices.Contains(types, asked) {
			types = append(types, asked)
		}
	}
	return types
}

// refuse answers with an error (RFC 7591 §3.2.2): 400, or 503 where the host failed.
func (s *Store) refuse(ctx context.Context, w http.ResponseWriter, r Registration, err error) {
	refused, wrong := oautherr.Of(err), &clientmeta.Error{}
	switch {
	case errors.As(err, &wrong):
		refused = &oautherr.Error{
			Code: oautherr.InvalidClientMetadata, Description: wrong.Text() + ".", Cause: wrong.Cause,
		}
		if wrong.OfRedirectURIs() {
			refused.Code = oautherr.InvalidRedirectURI
		}
	case errors.Is(err, errNotAllowed):
		refused = &oautherr.Error{
			Code: oautherr.InvalidClientMetadata, Description: "The server does not take this client.",
			Cause: errNotAllowed,
		}
	}
	s.report(ctx, Event{Kind: EventRefused, Registration: r, Member: wrong.Member, Err: refused})
	status := http.StatusBadRequest
	if refused.Code == oautherr.TemporarilyUnavailable || refused.Code == oautherr.ServerError {
		status = http.StatusServiceUnavailable
		if after := refused.RetryAfterHeader(); after != "" {
			w.Header().Set("Retry-After", after)
		}
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{
		"error": string(refused.Code), "error_description": refused.Text(),
	})
}
