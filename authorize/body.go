package authorize

import (
	"cmp"
	"net/http"

	"github.com/usher-auth/usher/authorize/internal/form"
)

func (h *Handler) readBody(r *http.Request) (params, error) {
	if !form.Is(r.Header) {
		return params{}, errContentType
	}
	query, err := h.parse(queryOf(r), errURITooLong)
	if err != nil {
		return query, err
	}
	body, err := form.Read(r.Body, maxInput)
	switch {
	case err == form.ErrTooLarge:
		return params{}, errBodyTooLarge
	case err != nil:
		return params{}, errBodyUnfinished.because("%w", err)
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
