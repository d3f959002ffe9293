package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// reader reads the request in req, in another process than the endpoint's.
type reader interface {
	read(ctx context.Context, req string) (asked, error)
}

// maxAnswer is the most bytes that are read of a response of the main process.
const maxAnswer = 1 << 20

// keyReader needs only the public keys of the endpoint.
type keyReader struct {
	issuer string
	client *http.Client // with a timeout
	now    func() time.Time

	keys atomic.Pointer[authorize.PendingReader] // nil before the first fetch

	mu      sync.Mutex // for one fetch at a time
	fetched time.Time  // the time of the last attempt
}

// fetchAgain is the minimum time between two fetches, because anybody can make up a request
// with an unknown key.
const fetchAgain = time.Second

func (k *keyReader) read(_ context.Context, req string) (asked, error) {
	keys, err := k.keys.Load(), error(nil)
	if keys == nil {
		if keys, err = k.fetch(nil); err != nil {
			return asked{}, err
		}
	}
	pending, err := keys.Read(req)
	if errors.Is(err, authorize.ErrUnknownKey) {
		if keys, err = k.fetch(keys); err != nil {
			return asked{}, err
		}
		pending, err = keys.Read(req)
	}
	if err != nil {
		return asked{}, err
	}
	return askedOf(pending), nil
}

// fetch returns newer keys than those given, if there are any. Only requests that need new
// keys wait for it. The fetch continues if the visitor who caused it leaves, because others
// need the keys too.
func (k *keyReader) fetch(than *authorize.PendingReader) (*authorize.PendingReader, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if keys := k.keys.Load(); keys != than {
		return keys, nil // another request has fetched them meanwhile
	}
	if k.now().Sub(k.fetched) < fetchAgain {
		if than == nil {
			return nil, errors.New("the keys of the endpoint could not be fetched a moment ago")
		}
		return than, nil
	}
	k.fetched = k.now()
	r, err := http.NewRequest(http.MethodGet, k.issuer+"/keys", nil)
	if err != nil {
		return nil, err
	}
	body, err := call(k.client, r)
	if err != nil {
		return nil, err
	}
	keys, err := authorize.NewPendingReader(k.issuer, "", body, k.now)
	if err != nil {
		return nil, err
	}
	k.keys.Store(keys)
	return keys, nil
}

// introspectionReader verifies no signatures: it asks the endpoint.
type introspectionReader struct {
	issuer string
	token  string
	client *http.Client
}

func (i *introspectionReader) read(ctx context.Context, req string) (asked, error) {
	form := url.Values{"req": {req}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.issuer+"/introspect", strings.NewReader(form))
	if err != nil {
		return asked{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+i.token)
	body, err := call(i.client, r)
	if err != nil {
		return asked{}, err
	}
	var answer struct {
		Active     bool
		Params     url.Values // as the client sent them
		ClientName string     `json:"client_name"`
		Scope      string     // the client's default scopes if it sent none
		ResumeURL  string     `json:"resume_url"`
		DenyURL    string     `json:"deny_url"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return asked{}, err
	}
	if !answer.Active {
		return asked{}, fmt.Errorf("the request is not from %s, or has expired", i.issuer)
	}
	to, err := url.Parse(answer.Params.Get("redirect_uri"))
	if err != nil {
		return asked{}, err
	}
	// If the endpoint omits these members, the parameters of the request have to do.
	client := cmp.Or(answer.ClientName, answer.Params.Get("client_id"))
	scope := cmp.Or(answer.Scope, answer.Params.Get("scope"))
	return asked{
		Client: client, Host: to.Host, Scopes: scopeLines(strings.Fields(scope)),
		Hint: answer.Params.Get("login_hint"), resumeURL: answer.ResumeURL, denyURL: answer.DenyURL,
	}, nil
}

func call(client *http.Client, r *http.Request) ([]byte, error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", r.URL, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxAnswer))
}
