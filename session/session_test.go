package session_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

func TestSignedIn(t *testing.T) {
	tests := []struct {
		rule string
		in   *session.Session
		want bool
	}{
		{"no session is nobody", nil, false},
		{"the zero session is nobody", &session.Session{}, false},
		{"a session without a subject is nobody", &session.Session{ID: "id", AuthTime: time.Now()}, false},
		{"a subject is somebody", &session.Session{Subject: "alice"}, true},
		{"a pending second factor is nobody", &session.Session{Subject: "alice", SecondFactorPending: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if got := tt.in.SignedIn(); got != tt.want {
				t.Errorf("SignedIn() = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestLogKeepsIDAndDataOut(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s := &session.Session{ID: "the-id", Subject: "alice", Data: []byte("the-data")}
	logger.Info("one", "session", s)
	logger.Info("two", "session", &session.Record{Session: *s})
	logger.Info("three", "session", *s)
	fmt.Fprintf(&log, "%v %+v", s, *s)
	got := log.String()
	if strings.Contains(got, "the-id") || strings.Contains(got, "the-data") {
		t.Errorf("the log has the session's id or data:\n%s", got)
	}
	if strings.Count(got, "session.subject=alice") != 3 {
		t.Errorf("the log does not say who is signed in:\n%s", got)
	}
}
