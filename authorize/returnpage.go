package authorize

import (
	"html/template"
	"net/http"

	"github.com/usher-auth/usher/authorize/internal/destination"
	"github.com/usher-auth/usher/authorize/internal/uri"
)

// The page of Client.ReturnPage.

var returnTemplate = pageTemplate("return.html")

// openScript opens the app. Without a script the user has the link.
const openScript = `location.href=document.links[0].getAttribute("href")`

// writeReturnPage writes a page with a link to the app, which a script follows at once.
func writeReturnPage(w http.ResponseWriter, to destination.Delivery, c *Client) {
	setPageHeaders(w.Header(), "script-src '"+sourceHash(openScript)+"'; ", false)
	writePage(w, http.StatusOK, returnTemplate, struct {
		Link, Name, Scheme string
		Script             template.JS
	}{to.Link, c.DisplayName(), uri.Host(to.Link), openScript})
}
