package house

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/session"
)

// hostOfItsOwn brings everything that a host brings, and nothing of ours.
type hostOfItsOwn struct{ client *authorize.Client }

func (h hostOfItsOwn) Client(context.Context, string) (*authorize.Client, error) {
	return h.client, nil
}

func (h hostOfItsOwn) Session(*http.Request) (*session.Session, error) {
	signedIn := time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC)
	return &session.Session{ID: "alice-1", Subject: "alice", AuthTime: signedIn}, nil
}

func (h hostOfItsOwn) LoginPage(context.Context, *authorize.Pending) (string, error) {
	return "/login", nil
}

func (h hostOfItsOwn) SaveCode(context.Context, string, *authorize.Code) error { return nil }

func (h hostOfItsOwn) FindCode(context.Context, string) (*authorize.Code, error) { return nil, nil }

func (h hostOfItsOwn) TakeCode(context.Context, string, time.Time) (*authorize.Code, bool, error) {
	return nil, false, nil
}

const happyRequest = "/authorize?response_type=code&client_id=web" +
	"&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid&state=st-1&nonce=n-1" +
	"&code_challenge=p7CN1Zi4o5ARn1mYNvNFvj2r5cKkr2k6y7a573eHJXQ&code_challenge_method=S256"

// TestTheHappyPath is the request that a client makes all day: someone is signed in
// and nothing is left to do. The program happypath runs it often, and counts.
func TestTheHappyPath(t *testing.T) {
	host := hostOfItsOwn{&authorize.Client{
		ID: "web", Name: "The Web App",
		RedirectURIs:  []string{"https://app.example/cb"},
		ResponseTypes: []string{"code", "none"},
		Scopes:        []string{"openid", "profile", "email"},
	}}
	h, err := authorize.New(authorize.Config{
		Issuer: "https://as.example", Clients: host, Sessions: host, Codes: host, Login: host,
	})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := strconv.Atoi(os.Getenv("USHER_HAPPY_REQUESTS"))
	if err != nil {
		requests = 1
	}
	for range requests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", happyRequest, nil))
		if got := w.Header().Get("Location"); !strings.Contains(got, "code=") {
			t.Fatalf("Location: %s", got)
		}
	}
}
