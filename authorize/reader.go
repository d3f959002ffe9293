package authorize

import (
	"fmt"
	"net/url"
	"time"

	"github.com/usher-auth/usher/authorize/internal/jose"
)

// PendingReader reads the waiting request on a page in another process. The page needs no
// store and no secret, only the public keys of the endpoint. It works only with asymmetric
// [Config].Keys. The page sends the user back to Pending.ResumeURL.
type PendingReader struct {
	issuer   string
	endpoint string
	keys     *jose.Ring
	now      func() time.Time
}

// NewPendingReader returns a reader for the endpoint with this issuer and endpoint URL,
// which are as in [Config]: an empty endpoint is issuer + "/authorize". keys is the JWK Set
// that [Handler.PendingKeysHandler] serves; the host fetches it. now is the clock; nil:
// time.Now.
func NewPendingReader(issuer, endpoint string, keys []byte, now func() time.Time) (*PendingReader, error) {
	ring, err := jose.ParsePublic(keys)
	if err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	if endpoint == "" {
		endpoint = defaultEndpoint(issuer)
	}
	if now == nil {
		now = time.Now
	}
	return &PendingReader{issuer, endpoint, ring, now}, nil
}

// ErrUnknownKey is wrapped in the error of [PendingReader.Read] for a request that names a
// key that is not in the set. Test for it with [errors.Is]. After a change of keys the page
// must fetch the set again. Limit how often it does so, because anybody can send a request
// that names an unknown key.
var ErrUnknownKey = jose.ErrUnknownKey

// Read returns the waiting request in req. An error means that req is missing, expired,
// signed with a key that is not in the set ([ErrUnknownKey]), or not made by this endpoint.
func (p *PendingReader) Read(req string) (*Pending, error) {
	w, err := p.open(req)
	if err != nil {
		return nil, err
	}
	return pendingOf(w, req, p.endpoint), nil
}

// open returns the request if it is valid, of this endpoint and not expired.
func (p *PendingReader) open(req string) (*waiting, error) {
	w, err := p.openLate(req)
	if err != nil {
		return nil, err
	}
	if now := p.now(); !now.Before(w.ExpiresAt.time()) {
		return nil, errReqExpired.because("req expired at %s, now is %s", rfc3339(w.ExpiresAt.time()), rfc3339(now))
	}
	return w, nil
}

// openLate returns the request even if it has expired.
func (p *PendingReader) openLate(req string) (*waiting, error) {
	if req == "" {
		return nil, errReqMissing
	}
	w := &waiting{}
	if err := p.keys.Verify(waitingType, req, w); err != nil {
		return nil, errReqExpired.because("req cannot be opened: %w", err)
	}
	if w.Issuer != p.issuer || w.Audience != p.endpoint {
		return nil, errReqExpired.because("req is for the endpoint %q of %q", w.Audience, w.Issuer)
	}
	return w, nil
}

func pendingOf(w *waiting, req, endpoint string) *Pending {
	resume := endpoint + "?req=" + url.QueryEscape(req)
	p := &Pending{
		Request:     newRequest(w.params()),
		Interaction: w.Page,
		Reason:      w.Reason,
		IssuedAt:    w.IssuedAt.time(),
		ExpiresAt:   w.ExpiresAt.time(),
		JWT:         req,
		ResumeURL:   resume,
		DenyURL:     resume + "&deny=1",
	}
	if w.For != nil {
		p.Subject = string(w.For.Subject)
	}
	p.Request.Subject = string(w.HintSubject)
	claimed, _ := readClaims(p.Request.Claims) // it was valid when it was signed
	p.Request.EssentialACR = claimed.acr
	if p.Request.Subject == "" {
		p.Request.Subject = claimed.subject
	}
	return p
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
