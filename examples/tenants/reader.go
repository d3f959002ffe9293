package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// reader reads the request in req for a page in another process than the endpoint.
type reader interface {
	read(ctx context.Context, req string) (asked, error)
}

// maxAnswer is how much of an answer of the main process is read.
const maxAnswer = 1 << 20

// keyReader needs the public keys of the endpoint, nothing else.
type keyReader struct {
	issuer string
	client *http.Client
	now    func() time.Time

	mu      sync.Mutex
	keys    *authorize.PendingReader // nil: not fetched yet
	fetched time.Time                // when that was last tried
}

// fetchAgain is how often the keys are fetched at most, because anybody can make up
// a request with an unknown key.
const fetchAgain = time.Second

func (k *keyReader) read(ctx context.Context, req string) (asked, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		if err := k.fetch(ctx); err != nil {
			return asked{}, err
		}
	}
	pending, err := k.keys.Read(req)
	if errors.Is(err, authorize.ErrUnknownKey) && k.now().Sub(k.fetched) >= fetchAgain {
		if err := k.fetch(ctx); err != nil {
			return asked{}, err
		}
		pending, err = k.keys.Read(req)
	}
	if err != nil {
		return asked{}, err
	}
	return askedOf(pending), nil
}

func (k *keyReader) fetch(ctx context.Context) error {
	k.fetched = k.now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.issuer+"/keys", nil)
	if err != nil {
		return err
	}
	body, err := call(k.client, r)
	if err != nil {
		return err
	}
	keys, err := authorize.NewPendingReader(k.issuer, "", body, k.now)
	if err == nil {
		k.keys = keys
	}
	return err
}

// introspectionReader knows nothing of signatures: it asks the endpoint.
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
		Active    bool
		Params    url.Values
		ResumeURL string `json:"resume_url"`
		DenyURL   string `json:"deny_url"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return asked{}, err
	}
	if !answer.Active {
		return asked{}, fmt.Errorf("the request is not one of %s, or waited too long", i.issuer)
	}
	to, err := url.Parse(answer.Params.Get("redirect_uri"))
	if err != nil {
		return asked{}, err
	}
	return asked{
		Client: answer.Params.Get("client_id"), Host: to.Host, Scopes: answer.Params.Get("scope"),
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
