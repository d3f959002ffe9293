package corpus

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// invariants hold for every answer, whatever the case expects. Each check returns what is
// wrong, or "".
var invariants = []struct {
	name  string
	check func(a *answer) string
}{
	{"1 (no 500, no 307, no CORS)", checkSound},
	{"2 (parameters)", checkParameters},
	{"3 (where the response goes)", checkDestination},
	{"4 (error_description)", checkDescription},
	{"5 (headers)", checkHeaders},
	{"6 (HTML)", checkHTML},
	{"6 (time and memory)", checkCost},
	{"7 (cookies)", checkCookies},
	{"8 (nothing stays behind)", checkNothingLeft},
	{"9 (one event, one line of the log)", checkReported},
	{"10 (nothing secret is logged)", checkLog},
	{"11 (the host is asked once and late)", checkAsked},
	{"12 (Explain says what the endpoint does)", checkExplained},
}

// checkSound does not see a panic: it gives no answer, and roundTrip reports it.
func checkSound(a *answer) string {
	redirected := a.status >= 300 && a.status < 400
	switch {
	case a.status == http.StatusInternalServerError:
		return "status 500"
	case redirected && a.status != http.StatusFound && a.status != http.StatusSeeOther:
		return fmt.Sprintf("status %d", a.status)
	case redirected && a.method == "POST" && a.status != http.StatusSeeOther:
		return fmt.Sprintf("a POST is redirected with status %d: the browser may post it again", a.status)
	}
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-Allow-") {
			return name
		}
	}
	return ""
}

// checkParameters checks the parameters that a client gets.
func checkParameters(a *answer) string {
	if a.kind != codeRedirect && a.kind != emptyRedirect && a.kind != errorRedirect {
		return ""
	}
	for _, p := range a.params {
		if a.count(p.name) > 1 {
			return p.name + " is there twice"
		}
	}
	switch {
	case a.has("code") && a.has("error"):
		return "both code and error"
	case a.asked.state == "" && a.has("state"):
		return fmt.Sprintf("state is %.80q, but the request had no usable state", a.param("state"))
	case a.param("state") != a.asked.state:
		return fmt.Sprintf("state is %.80q, not %.80q", a.param("state"), a.asked.state)
	case a.param("iss") != issuer:
		return fmt.Sprintf("iss is %q", a.param("iss"))
	}
	return ""
}

// checkDestination is stricter than the corpus, which only compares the host. An answer must go
// to a page of the model or to a redirect URI that is registered for this client. The bytes
// must be the same, except for a loopback port.
func checkDestination(a *answer) string {
	if location := a.header.Get("Location"); location != "" && (a.status < 300 || a.status > 399) {
		return fmt.Sprintf("Location with status %d", a.status)
	}
	if a.target == "" || a.kind == loginRedirect || a.kind == askedAgain {
		return ""
	}
	for _, uri := range a.registered {
		target, registered := a.target, uri
		if t, ok := withoutPort(target); ok {
			if r, ok := withoutPort(registered); ok {
				target, registered = t, r
			}
		}
		rest, ok := strings.CutPrefix(target, registered)
		if ok && (rest == "" || !a.form && strings.ContainsAny(rest[:1], "?&#")) {
			return ""
		}
	}
	return fmt.Sprintf("the answer goes to %.200q, but the client has registered %.200q", a.target, a.registered)
}

var httpAuthority = regexp.MustCompile(`^http://([^/?#]*)`)

// withoutPort cuts the port out of an http URL on loopback.
func withoutPort(uri string) (string, bool) {
	authority := httpAuthority.FindString(uri)
	u, err := url.Parse(authority)
	if authority == "" || err != nil {
		return "", false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return "", false
	}
	return strings.TrimSuffix(authority, ":"+u.Port()) + uri[len(authority):], true
}

// ownWords may be in an error_description even if the request has them too.
var ownWords = []string{
	"code", "none", "token", "openid", "scope", "state", "nonce", "prompt", "login", "consent",
	"query", "form_post", "page", "S256", "plain", "client", "request", "https", "http",
}

// checkDescription checks that error_description has only the characters of RFC 6749 §4.1.2.1,
// and no value of the request. It ignores values that are short or are words of the protocol.
func checkDescription(a *answer) string {
	description := a.param("error_description")
	for i := range len(description) {
		if c := description[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return fmt.Sprintf("the byte %#x is not allowed in it", c)
		}
	}
	for _, value := range a.asked.values {
		if len(value) >= 4 && strings.Contains(description, value) &&
			!slices.Contains(ownWords, value) && !parameterName(value) {
			return fmt.Sprintf("%q comes from the request", value)
		}
	}
	return ""
}

// parameterName reports whether name is a known parameter. Such a name may be in the
// description, because it helps the client's developer.
func parameterName(name string) bool {
	return slices.Contains([]string{
		"response_type", "client_id", "redirect_uri", "response_mode", "code_challenge",
		"code_challenge_method", "max_age", "display", "ui_locales", "claims_locales", "id_token_hint",
		"login_hint", "acr_values", "claims", "request_uri", "registration", "resource",
		"authorization_details", "dpop_jkt", "x_tenant",
	}, name)
}

// checkHeaders ignores answers of net/http itself, which do not have the endpoint's headers.
func checkHeaders(a *answer) string {
	if !a.reached {
		return ""
	}
	policy := strings.ToLower(a.header.Get("Content-Security-Policy"))
	referrer := "no-referrer"
	if a.form {
		referrer = "strict-origin" // with no-referrer the client would see Origin: null
	}
	framed := !strings.Contains(policy, "frame-ancestors")
	switch {
	case !strings.Contains(a.header.Get("Cache-Control"), "no-store"):
		return fmt.Sprintf("Cache-Control is %q", a.header.Get("Cache-Control"))
	case a.header.Get("Referrer-Policy") != referrer:
		return fmt.Sprintf("Referrer-Policy is %q", a.header.Get("Referrer-Policy"))
	case a.body != "" && a.header.Get("Content-Type") == "":
		return "no Content-Type"
	case !a.html():
		return ""
	case framed != a.silent():
		return fmt.Sprintf("the policy is %q, and prompt=none by form_post: %v", policy, a.silent())
	case !framed && !strings.Contains(policy, "frame-ancestors 'none'"):
		return "no frame-ancestors 'none'"
	case (a.header.Get("X-Frame-Options") == "DENY") == framed:
		return fmt.Sprintf("X-Frame-Options is %q", a.header.Get("X-Frame-Options"))
	case framed && strings.Contains(a.body, "<button"):
		return "a button on a page that may be in a frame"
	case strings.Contains(policy, "form-action"):
		return "form-action, which stops the response to the client in some browsers"
	case a.header.Get("X-Content-Type-Options") != "nosniff":
		return "no nosniff"
	}
	return ""
}

// silent reports whether it is the answer to prompt=none by form_post. This page may be in a
// frame of the client's page, because it has nothing to click.
func (a *answer) silent() bool {
	return a.form && strings.Trim(a.asked.prompt, " ") == "none"
}

var ownCode = regexp.MustCompile(`(?is)<(script|style)>.*?</(script|style)>`)

// checkHTML looks for unescaped values of the request, and for scripts and styles whose hash is
// not in the page's policy. It only needs to look at pieces of values that begin with a
// character that can end a text or an attribute.
func checkHTML(a *answer) string {
	if !a.html() {
		return ""
	}
	page, raw := decodePage(ownCode.ReplaceAllString(a.body, ""))
	for _, value := range a.asked.values {
		if piece := rawPiece(value, page, raw); piece != "" {
			return fmt.Sprintf("%q comes from the request, unescaped", piece)
		}
	}
	policy := a.header.Get("Content-Security-Policy")
	for _, tag := range startTags(a.body) {
		if (tag.name == "script" || tag.name == "style") &&
			!strings.Contains(policy, "'sha256-"+sha256Of(tag.text)+"'") {
			return fmt.Sprintf("a <%s> that the policy does not name", tag.name)
		}
		for name := range tag.attr {
			if strings.HasPrefix(name, "on") || name == "src" {
				return fmt.Sprintf("<%s> has the attribute %s", tag.name, name)
			}
		}
	}
	return ""
}

// rawPiece returns a piece of the value that begins with a special character and is in the
// page unescaped.
func rawPiece(value, page string, raw []bool) string {
	last := ""
	for i := range len(value) {
		if strings.IndexByte(`<>"'&`, value[i]) < 0 {
			continue
		}
		piece := value[i:min(i+16, len(value))]
		if piece == last || len(piece) < 4 {
			continue
		}
		last = piece
		for from := 0; ; from++ {
			at := strings.Index(page[from:], piece)
			if at < 0 {
				break
			}
			if from += at; raw[from] {
				return piece
			}
		}
	}
	return ""
}

var entity = regexp.MustCompile(`&[#0-9A-Za-z]+;`)

// decodePage decodes the entities of a page. raw is true for every byte that was not an entity.
func decodePage(page string) (text string, raw []bool) {
	var b strings.Builder
	add := func(part string, asItIs bool) {
		b.WriteString(part)
		for range len(part) {
			raw = append(raw, asItIs)
		}
	}
	from := 0
	for _, at := range entity.FindAllStringIndex(page, -1) {
		add(page[from:at[0]], true)
		add(html.UnescapeString(page[at[0]:at[1]]), false)
		from = at[1]
	}
	add(page[from:], true)
	return b.String(), raw
}

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hashOf returns the hash under which the code store keeps a code.
func hashOf(code string) string {
	sum := sha256.Sum256([]byte(issuer + " " + code))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func checkCost(a *answer) string {
	switch {
	case a.elapsed > time.Second:
		return fmt.Sprintf("took %s", a.elapsed)
	case a.allocated > 8<<20:
		return fmt.Sprintf("allocated %d bytes", a.allocated)
	}
	return ""
}

func checkCookies(a *answer) string {
	for _, line := range a.header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		switch {
		case err != nil:
			return err.Error()
		case !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode:
			return fmt.Sprintf("%s is not Secure, HttpOnly and SameSite", c.Name)
		}
	}
	return ""
}

// checkNothingLeft: only an answer with a code stores a code, namely this one for the
// signed-in user. Only a redirect to the login or consent page sets a cookie.
func checkNothingLeft(a *answer) string {
	want := 0
	if a.kind == codeRedirect {
		want = 1
	}
	if len(a.codes) != want {
		return fmt.Sprintf("%d codes were stored for %s", len(a.codes), a)
	}
	for _, saved := range a.codes {
		switch {
		case saved.hash != hashOf(a.param("code")):
			return "the stored hash is not that of issuer and code"
		case a.subject != "" && saved.code.Subject != a.subject:
			return fmt.Sprintf("the code is for %q, but the signed-in user is %q", saved.code.Subject, a.subject)
		}
	}
	if a.kind == loginRedirect {
		return ""
	}
	for _, line := range a.header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err != nil || c.MaxAge >= 0 {
			return "a cookie is set: " + line
		}
	}
	return ""
}
