package errors_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oautherr "github.com/usher-auth/usher/errors"
)

// codes are all there are, as they stand on the wire.
var codes = []struct {
	code oautherr.Code
	wire string
	rfc  string
}{
	{oautherr.InvalidRequest, "invalid_request", "RFC 6749 §4.1.2.1"},
	{oautherr.UnauthorizedClient, "unauthorized_client", "RFC 6749 §4.1.2.1"},
	{oautherr.AccessDenied, "access_denied", "RFC 6749 §4.1.2.1"},
	{oautherr.UnsupportedResponseType, "unsupported_response_type", "RFC 6749 §4.1.2.1"},
	{oautherr.InvalidScope, "invalid_scope", "RFC 6749 §4.1.2.1"},
	{oautherr.ServerError, "server_error", "RFC 6749 §4.1.2.1"},
	{oautherr.TemporarilyUnavailable, "temporarily_unavailable", "RFC 6749 §4.1.2.1"},
	{oautherr.InteractionRequired, "interaction_required", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.LoginRequired, "login_required", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.AccountSelectionRequired, "account_selection_required", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.ConsentRequired, "consent_required", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.InvalidRequestURI, "invalid_request_uri", "OpenID Connect Core 1.0 §3.1.2.6, RFC 9101 §7"},
	{oautherr.InvalidRequestObject, "invalid_request_object", "OpenID Connect Core 1.0 §3.1.2.6, RFC 9101 §7"},
	{oautherr.RequestNotSupported, "request_not_supported", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.RequestURINotSupported, "request_uri_not_supported", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.RegistrationNotSupported, "registration_not_supported", "OpenID Connect Core 1.0 §3.1.2.6"},
	{oautherr.UnmetAuthenticationRequirements, "unmet_authentication_requirements", "OpenID Connect Core Error Code 1.0"},
	{oautherr.InvalidTarget, "invalid_target", "RFC 8707 §2"},
	{oautherr.InvalidAuthorizationDetails, "invalid_authorization_details", "RFC 9396 §5"},
	{oautherr.InvalidGrant, "invalid_grant", "RFC 6749 §5.2"},
	{oautherr.UnsupportedGrantType, "unsupported_grant_type", "RFC 6749 §5.2"},
	{oautherr.InvalidClient, "invalid_client", "RFC 6749 §5.2, and shown to the user"},
	{oautherr.InvalidToken, "invalid_token", "RFC 6750 §3.1"},
	{oautherr.InsufficientScope, "insufficient_scope", "RFC 6750 §3.1"},
	{oautherr.RedirectURIMismatch, "redirect_uri_mismatch", "shown to the user only"},
	{oautherr.InvalidRedirectURI, "invalid_redirect_uri", "RFC 7591 §3.2.2"},
	{oautherr.InvalidClientMetadata, "invalid_client_metadata", "RFC 7591 §3.2.2"},
	{oautherr.InvalidSoftwareStatement, "invalid_software_statement", "RFC 7591 §3.2.2"},
	{oautherr.UnapprovedSoftwareStatement, "unapproved_software_statement", "RFC 7591 §3.2.2"},
}

func TestCodesAreThoseOfTheSpecifications(t *testing.T) {
	for _, c := range codes {
		t.Run(c.wire, func(t *testing.T) {
			if got := c.code.Error(); got != c.wire {
				t.Errorf("%s: the code is %q, want %q", c.rfc, got, c.wire)
			}
			if c.code.Description() == "" {
				t.Error("no description")
			}
			if got, want := c.code.With("").Text(), c.code.Description(); got != want {
				t.Errorf("its description is not what RFC 6749 §4.1.2.1 allows: %q is sent as %q", want, got)
			}
		})
	}
}

func TestEveryCodeOfThePackageIsInTheTable(t *testing.T) {
	listed := map[string]bool{}
	for _, c := range codes {
		listed[c.wire] = true
	}
	for _, wire := range declaredCodes(t) {
		if !listed[wire] {
			t.Errorf("%s is declared and not in the table of this test", wire)
		}
		delete(listed, wire)
	}
	for wire := range listed {
		t.Errorf("%s is in the table of this test and not declared", wire)
	}
}

// declaredCodes reads the constants of type Code out of the source.
func declaredCodes(t *testing.T) (wires []string) {
	t.Helper()
	for _, decl := range source(t).Decls {
		constants, ok := decl.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		for _, spec := range constants.Specs {
			value := spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit)
			if text, _ := strconv.Unquote(value.Value); text == oautherr.NQSCHAR {
				continue
			}
			wires = append(wires, strings.Trim(value.Value, `"`))
		}
	}
	return wires
}

func source(t *testing.T) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Whoever imports both packages must never call the wrong one without noticing.
func TestNoNameShadowsTheStandardPackage(t *testing.T) {
	for _, decl := range source(t).Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Recv != nil {
			continue
		}
		switch function.Name.Name {
		case "New", "Is", "As", "Join", "Unwrap", "Wrap", "Wrapf", "AsType", "Errorf":
			t.Errorf("func %s has the name of a function of the standard errors package, or of one often dot-imported", function.Name.Name)
		}
	}
}

func TestTheStandardPackageFindsACodeAnywhere(t *testing.T) {
	cause := errors.New("the cause")
	for _, c := range []struct {
		name string
		err  error
		is   bool
	}{
		{"the code itself", oautherr.InvalidScope, true},
		{"a wrapped code", fmt.Errorf("a: %w", fmt.Errorf("b: %w", oautherr.InvalidScope)), true},
		{"an Error of the code", oautherr.InvalidScope.With("text"), true},
		{"an Error with a cause", oautherr.InvalidScope.Because(cause), true},
		{"a wrapped Error", fmt.Errorf("a: %w", oautherr.InvalidScope.With("text")), true},
		{"the cause of another Error", oautherr.ServerError.Because(oautherr.InvalidScope), true},
		{"joined", errors.Join(io.EOF, oautherr.InvalidScope.With("text")), true},
		{"another code", oautherr.InvalidRequest, false},
		{"an Error of another code", oautherr.InvalidRequest.With("invalid_scope"), false},
		{"the same text", errors.New("invalid_scope"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := errors.Is(c.err, oautherr.InvalidScope); got != c.is {
				t.Errorf("errors.Is is %v, want %v", got, c.is)
			}
		})
	}
	if err := oautherr.ServerError.Because(fmt.Errorf("a: %w", io.EOF)); !errors.Is(err, io.EOF) {
		t.Error("errors.Is does not find the cause")
	}
}

func TestTextIsWhatTheClientMayRead(t *testing.T) {
	for _, c := range []struct {
		name, description, text string
	}{
		{"empty: the code's own", "", "A requested scope is missing, unknown or not open to this client."},
		{"as it is", "openid is missing.", "openid is missing."},
		{"the lowest and the highest allowed", " !#[]~", " !#[]~"},
		{"quote", `a"b`, "a?b"},
		{"backslash", `a\b`, "a?b"},
		{"line break", "a\r\nb", "a??b"},
		{"tab", "a\tb", "a?b"},
		{"NUL", "a\x00b", "a?b"},
		{"DEL", "a\x7fb", "a?b"},
		{"each byte of UTF-8", "é", "??"},
		{"first and last", "\na\n", "?a?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := oautherr.InvalidScope.With(c.description).Text(); got != c.text {
				t.Errorf("%q is sent as %q, want %q", c.description, got, c.text)
			}
		})
	}
}

// RFC 6749 App. A: NQSCHAR = %x20-21 / %x23-5B / %x5D-7E.
func TestNQSCHARIsTheSetOfTheRFC(t *testing.T) {
	for c := range 256 {
		want := c >= 0x20 && c <= 0x21 || c >= 0x23 && c <= 0x5b || c >= 0x5d && c <= 0x7e
		if got := strings.IndexByte(oautherr.NQSCHAR, byte(c)) >= 0; got != want {
			t.Errorf("%#x is in the set: %t, want %t", c, got, want)
		}
	}
}

// RFC 9110 §10.2.3 has whole seconds.
func TestRetryAfterHeader(t *testing.T) {
	for _, c := range []struct {
		rule  string
		after time.Duration
		want  string
	}{
		{"no time is no header", 0, ""},
		{"neither is one that has passed", -time.Second, ""},
		{"a nanosecond is rounded up", 1, "1"},
		{"a second", time.Second, "1"},
		{"a nanosecond more is rounded up", time.Second + 1, "2"},
		{"a minute and a half is in seconds", 90 * time.Second, "90"},
		{"the longest time", math.MaxInt64, "9223372037"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			e := &oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: c.after}
			if got := e.RetryAfterHeader(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Who passes an error on says again when to come back.
func TestRetryAfterSurvives(t *testing.T) {
	busy := &oautherr.Error{Code: oautherr.TemporarilyUnavailable, RetryAfter: time.Minute}
	for name, err := range map[string]error{
		"Of":                    busy,
		"Of a wrapped one":      fmt.Errorf("a: %w", busy),
		"Because":               oautherr.ServerError.Because(busy),
		"Because, of a wrapped": oautherr.ServerError.Because(fmt.Errorf("a: %w", busy)),
	} {
		t.Run(name, func(t *testing.T) {
			if got := oautherr.Of(err).RetryAfter; got != time.Minute {
				t.Errorf("got %s, want a minute", got)
			}
		})
	}
	var none *oautherr.Error
	if got := oautherr.ServerError.Because(none).RetryAfter; got != 0 {
		t.Errorf("of a nil pointer: %s", got)
	}
}

func TestTheCauseIsNeverInTheText(t *testing.T) {
	err := oautherr.ServerError.Because(errors.New("password=hunter2"))
	if strings.Contains(err.Text(), "hunter2") {
		t.Errorf("the client would read %q", err.Text())
	}
	if want := "server_error: The server met an unexpected condition.: password=hunter2"; err.Error() != want {
		t.Errorf("the log would read %q, want %q", err.Error(), want)
	}
}

func TestACodeOfOnesOwnHasNoDescription(t *testing.T) {
	own := oautherr.Code("my_error")
	if own.Description() != "" || own.With("").Error() != "my_error" || own.With("").Text() != "" {
		t.Errorf("got %q and %q", own.Description(), own.With("").Error())
	}
}

func TestOf(t *testing.T) {
	whole := &oautherr.Error{Code: oautherr.InvalidScope, Description: "text", Cause: io.EOF}
	wrappedCode := fmt.Errorf("a: %w", oautherr.AccessDenied)
	for _, c := range []struct {
		name string
		err  error
		want *oautherr.Error
	}{
		{"nil stays nil", nil, nil},
		{"an Error is itself", whole, whole},
		{"a wrapped Error is found", fmt.Errorf("a: %w", whole), whole},
		{"a code becomes one, with no more to say", oautherr.AccessDenied, &oautherr.Error{Code: oautherr.AccessDenied}},
		{"a wrapped code keeps what wraps it", wrappedCode, &oautherr.Error{Code: oautherr.AccessDenied, Cause: wrappedCode}},
		{"anything else is server_error", io.EOF, &oautherr.Error{Code: oautherr.ServerError, Cause: io.EOF}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := oautherr.Of(c.err)
			if (got == nil) != (c.want == nil) || got != nil && (got.Code != c.want.Code || got.Description != c.want.Description || got.Cause != c.want.Cause) {
				t.Errorf("%#v, want %#v", got, c.want)
			}
		})
	}
}

// A *Error that is nil must not become an error that is not nil.
func TestOfNilCanBeComparedWithNil(t *testing.T) {
	if oautherr.Of(nil) != nil {
		t.Error("Of(nil) is not nil")
	}
}

func TestTheLogGetsTheThreePartsApart(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *oautherr.Error
		want string
	}{
		{"with a cause", oautherr.ServerError.Because(errors.New("disk full")), `level=WARN msg=m error.code=server_error error.description="The server met an unexpected condition." error.cause="disk full"`},
		{"with a time to wait", &oautherr.Error{Code: oautherr.AccessDenied, Description: "d", RetryAfter: time.Minute}, `level=WARN msg=m error.code=access_denied error.description=d error.retry_after=1m0s`},
		{"without", oautherr.InvalidScope.With("none"), `level=WARN msg=m error.code=invalid_scope error.description=none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
			log.Warn("m", "error", c.err)
			if diff := cmp.Diff(c.want+"\n", out.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func Example() {
	err := fmt.Errorf("checking the request: %w", oautherr.InvalidScope.With("The scope admin is not open to this client."))

	fmt.Println(errors.Is(err, oautherr.InvalidScope))
	fmt.Println(oautherr.Of(err).Code, "-", oautherr.Of(err).Text())

	// What the log gets, the client does not.
	failure := oautherr.Of(os.ErrDeadlineExceeded)
	fmt.Println(failure.Code, "-", failure.Text())
	fmt.Println(failure.Cause)
	// Output:
	// true
	// invalid_scope - The scope admin is not open to this client.
	// server_error - The server met an unexpected condition.
	// i/o timeout
}
