package authorize

import (
	"net/http"
	"slices"
	"strings"
)

// CORS lets scripts of any origin use an endpoint and read its responses (Fetch Standard,
// CORS protocol). It is for the host's JWKS, token and userinfo endpoints.
// [Handler.MetadataHandler] and [Handler.PendingKeysHandler] have it already. methods are
// those that next supports, such as "GET" and "POST"; "GET" includes "HEAD". If methods is
// empty, they are GET and HEAD.
//
//   - OPTIONS gets status 204, and next is not called. A preflight is allowed every header
//     that it names.
//   - Other methods get status 405, and next is not called.
//   - Scripts may read the response of next, and its headers WWW-Authenticate and
//     Retry-After. next may replace the CORS headers, for example to name one origin.
//
// Cookies are never allowed (Access-Control-Allow-Credentials), so the response must depend
// on a value that the script itself sends, such as a code or a token.
//
// Never put it around the authorization endpoint or a page of the host. Browsers navigate
// there, which needs no CORS. With CORS, a script of another site could read responses that
// are meant for the user or for another client.
func CORS(next http.Handler, methods ...string) http.Handler {
	if len(methods) == 0 {
		methods = []string{http.MethodGet}
	}
	methods = slices.Clone(methods)
	i := slices.Index(methods, http.MethodGet)
	if i >= 0 && !slices.Contains(methods, http.MethodHead) {
		methods = slices.Insert(methods, i+1, http.MethodHead)
	}
	allowed := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Access-Control-Allow-Origin", "*")
		switch {
		case r.Method == http.MethodOptions:
			header.Set("Allow", allowed+", OPTIONS")
			header.Set("Access-Control-Allow-Methods", allowed)
			header.Set("Access-Control-Max-Age", "7200") // as long as Chromium keeps it
			header.Add("Vary", requestHeaders)
			if names := headersAskedFor(r.Header.Values(requestHeaders)); names != "" {
				header.Set("Access-Control-Allow-Headers", names)
			}
			w.WriteHeader(http.StatusNoContent)
		case !slices.Contains(methods, r.Method):
			header.Set("Allow", allowed+", OPTIONS")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		default:
			header.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
			next.ServeHTTP(w, r)
		}
	})
}

// requestHeaders names the header in which a preflight lists the headers that it asks for.
const requestHeaders = "Access-Control-Request-Headers"

// maxRequestHeaders limits how many bytes of a preflight's list are repeated in the
// response.
const maxRequestHeaders = 2048

// headersAskedFor returns the names of headers that a preflight asks for, as one list. It
// is empty if the list is too long or if one of them is not a header name (RFC 9110 §5.1),
// so that the response repeats only names.
func headersAskedFor(lines []string) string {
	length := 0
	var names []string
	for _, line := range lines {
		if length += len(line); length > maxRequestHeaders {
			return ""
		}
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			if strings.Trim(name, tokenCharacters) != "" {
				return ""
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// tokenCharacters are those of a token (RFC 9110 §5.6.2).
const tokenCharacters = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
