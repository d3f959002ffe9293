package authorize

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

func (h *Handler) readBody(r *http.Request) (params, error) {
	if !isForm(r.Header) {
		return params{}, errContentType
	}
	query, err := h.parse(queryOf(r), errURITooLong)
	if err != nil {
		return query, err
	}
	body, err := bodyOf(r.Body)
	if err != nil {
		return params{}, err
	}
	p, err := h.parse(body, errBodyTooLarge)
	if err != nil {
		return p, err
	}
	if err := r.Context().Err(); err != nil {
		return p, errBodyUnfinished.because("%w", err)
	}
	// A parameter in the query of a POST counts as repeated, even if the body does not have
	// it.
	for _, x := range query.list {
		p.repeated = appendOnce(p.repeated, x.name)
	}
	for _, name := range query.repeated {
		p.repeated = appendOnce(p.repeated, name)
	}
	p.resumes, p.otherReq = p.resumes || query.resumes, cmp.Or(p.otherReq, query.otherReq)
	return p.withoutRepeated(), nil
}

// bodyOf reads a body up to its limit. Without an HTTP server in front, as in a function
// adapter, there may be no body: then it is empty.
func bodyOf(body io.ReadCloser) (string, error) {
	if body == nil {
		return "", nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, body, maxInput))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return "", errBodyTooLarge
	} else if err != nil {
		return "", errBodyUnfinished.because("%w", err)
	}
	return string(text), nil
}

// maxMediaType limits the header Content-Type in bytes. It is parsed before anything else.
const maxMediaType = 1024

// isForm reports whether a body can be read as a form without decoding: it has the media
// type of forms, is not compressed, and its charset does not change ASCII. parse accepts
// ASCII only.
func isForm(header http.Header) bool {
	contentType := header.Get("Content-Type")
	if len(contentType) > maxMediaType {
		return false
	}
	mediaType, options, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "application/x-www-form-urlencoded" ||
		!keepsASCII(options["charset"]) {
		return false
	}
	for _, line := range header.Values("Content-Encoding") {
		for encoding := range strings.SplitSeq(line, ",") {
			encoding = strings.TrimSpace(encoding)
			if encoding != "" && !strings.EqualFold(encoding, "identity") {
				return false
			}
		}
	}
	return true
}

// keepsASCII reports whether the charset leaves the ASCII bytes unchanged. Empty: no
// charset is named.
func keepsASCII(charset string) bool {
	switch charset = strings.ToLower(charset); charset {
	case "", "utf-8", "us-ascii":
		return true
	}
	return isNumbered(charset, "iso-8859-") || isNumbered(charset, "windows-125")
}

// isNumbered reports whether a name is the prefix and one or two digits.
func isNumbered(name, prefix string) bool {
	number, ok := strings.CutPrefix(name, prefix)
	return ok && (len(number) == 1 || len(number) == 2) && strings.Trim(number, "0123456789") == ""
}
