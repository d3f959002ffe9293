package authorize

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/usher-auth/usher/authorize/internal/destination"
)

// A program without a browser, such as a device or a job, names [Client].OutOfBand as its
// redirect_uri and reads the response in the body. For such a request:
//
//   - An approval is status 200 with a JSON object of code, state and iss.
//   - Every error goes to [Config].ErrorPage or, without one, to [ErrorJSON].
//   - Nothing is redirected, not even a POST without a session. If a page is needed, the
//     error is login_required, consent_required or interaction_required, as under
//     prompt=none.
//   - A request that a browser sends for a page of another site, or to show the response in
//     a window, is refused. Other pages cannot read the response: there is no CORS, and its
//     media type and nosniff prevent it from being run as a script.
//
// The SessionStore must recognize the user by a value that the program sends itself, such
// as a header. A cookie is not enough: a browser sends it with requests of any page.

// OutOfBandAuto is the usual value of [Client].OutOfBand.
const OutOfBandAuto = "urn:ietf:wg:oauth:2.0:oob:auto"

// ErrorJSON writes a JSON object with error and error_description, as a token endpoint does
// (RFC 6749 §5.2), with the status p.Status (zero: 400) and headers against caching and
// sniffing. Use it as [Config].ErrorPage for endpoints that only programs use, and for the
// host's own errors in front of such an endpoint.
func ErrorJSON(w http.ResponseWriter, _ *http.Request, p PageError) {
	writeJSON(w, cmp.Or(p.Status, http.StatusBadRequest), []destination.Param{
		{Name: "error", Value: string(p.Code)},
		{Name: "error_description", Value: p.Description},
	})
}

func writeJSON(w http.ResponseWriter, status int, params []destination.Param) {
	object := make(map[string]string, len(params))
	for _, p := range params {
		object[p.Name] = p.Value
	}
	header := w.Header()
	setHeaders(header)
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(object)
}

// fromBrowser reports whether a browser sent r for a page of another site or to show the
// response in a window. Programs do not send these headers.
func (h *Handler) fromBrowser(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	return site != "" && site != "same-origin" || origin != "" && origin != h.origin ||
		r.Header.Get("Sec-Fetch-Mode") == "navigate"
}
