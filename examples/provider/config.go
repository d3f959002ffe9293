package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/authorize"
)

// config is the JSON file. A pointer is nil if the field is absent.
type config struct {
	// Issuer is the issuer identifier. Absent: the address of the listener.
	Issuer *string `json:"issuer"`

	// CodeLifetimeSeconds is how long a code can be redeemed. Absent: 60.
	CodeLifetimeSeconds *int `json:"code_lifetime_seconds"`

	Clients []clientConfig `json:"clients"`
	Users   []userConfig   `json:"users"`

	// Resources are the APIs that clients may name in the parameter resource (RFC 8707).
	// Absent: the parameter is ignored.
	Resources []resourceConfig `json:"resources"`

	// Registration lets clients register themselves, MetadataDocuments lets them introduce
	// themselves by the URL of a document. Absent: they cannot.
	Registration      *openConfig `json:"registration"`       // feature dcr
	MetadataDocuments *openConfig `json:"metadata_documents"` // feature cimd
}

// openConfig says what clients may do that nobody registered.
type openConfig struct {
	Scopes        []string `json:"scopes"`
	DefaultScopes []string `json:"default_scopes"` // absent: a request without scope is refused
	AppSchemes    []string `json:"app_schemes"`    // such as cursor; absent: https and loopback only
}

type resourceConfig struct {
	ID            string   `json:"id"`
	Name          string   `json:"name"`
	Scopes        []string `json:"scopes"`
	Documentation string   `json:"documentation"`
}

type clientConfig struct {
	ID                string   `json:"id"`
	Secret            string   `json:"secret"`
	Name              string   `json:"name"`
	RedirectURIs      []string `json:"redirect_uris"`
	PrivateUseSchemes []string `json:"private_use_schemes"` // such as cursor
	Scopes            []string `json:"scopes"`
	ResponseTypes     []string `json:"response_types"` // absent: code
	Public            bool     `json:"public"`
	Native            bool     `json:"native"`             // any loopback port, even
	LocalhostAnyPort  bool     `json:"localhost_any_port"` // if one is registered; same as native
	PKCE              *string  `json:"pkce"`               // absent: required
	RequireState      bool     `json:"require_state"`
	FirstParty        bool     `json:"trusted"`
	Disabled          bool     `json:"disabled"`

	// ResponseModes are the values that a request may use as response_mode: "query",
	// "form_post" and "fragment". Absent: query and form_post. An empty list: none. List
	// fragment only for a client that reads its responses there, as some libraries for
	// browsers do.
	ResponseModes []string `json:"response_modes"`

	// ReturnPage shows a page with a link when the response goes to an app's own scheme.
	ReturnPage bool `json:"return_page"` // feature returnpage

	// DefaultScopes are the scopes of a request without scope, some of Scopes. Absent
	// or empty: such a request is refused with invalid_scope.
	DefaultScopes []string `json:"default_scopes"`

	// ClaimsInIDToken adds the claims of userinfo to the ID token, for clients that read a
	// name or an email address only there. Absent or false: the ID token has only those
	// claims about the user that the parameter claims asks for. OpenID Connect Core 1.0
	// §5.4 says so if there is an access token.
	ClaimsInIDToken bool `json:"claims_in_id_token"`
}

type userConfig struct {
	Username string                     `json:"username"`
	Password string                     `json:"password"`
	Claims   map[string]json.RawMessage `json:"claims"`

	// Workspaces are those of which the user chooses one at consent. Absent: there is no choice.
	Workspaces []string `json:"workspaces"`
}

// parseConfig reads and checks a file. The error names every field that is wrong.
func parseConfig(text []byte) (*config, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	c := &config{}
	if err := decoder.Decode(c); err != nil {
		return nil, explain(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more text after the end of the object")
	}
	return c, c.check()
}

// explain names the field of the file that has the wrong type.
func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("%s: the value is a %s, want %s", wrong.Field, wrong.Value, wrong.Type)
	}
	return err
}

// problems collects errors, each with the path of its field.
type problems struct {
	at   string // the path so far, with a dot at its end
	list []error
}

func (p *problems) add(field, format string, values ...any) {
	p.list = append(p.list, fmt.Errorf("%s%s: %s", p.at, field, fmt.Sprintf(format, values...)))
}

// inFile replaces the names of the library by those of the file.
var inFile = strings.NewReplacer(
	"Client.PrivateUseSchemes", "private_use_schemes", "PrivateUseSchemes", "private_use_schemes",
	"RedirectURIs", "redirect_uris", "ResponseTypes", "response_types",
	"ResponseModes", "response_modes",
	"DefaultScopes", "default_scopes", "FirstParty", "trusted",
)

// addClient adds the errors that the library finds in a client. It skips those of the id,
// for which the rule here is stricter.
func (p *problems) addClient(err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range joined.Unwrap() {
		var wrong *authorize.ClientError
		if errors.As(err, &wrong) && wrong.Field != "ID" {
			p.add(inFile.Replace(wrong.Field), "%s", inFile.Replace(wrong.Err.Error()))
		}
	}
}

func (c *config) check() error {
	p := &problems{}
	if c.Issuer != nil {
		if err := checkIssuer(*c.Issuer); err != nil {
			p.add("issuer", "%v", err)
		}
	}
	if s := c.CodeLifetimeSeconds; s != nil && (*s < 1 || *s > 600) {
		p.add("code_lifetime_seconds", "%d is not between 1 and 600", *s)
	}
	if c.Clients == nil {
		p.add("clients", "is missing")
	}
	if c.Users == nil {
		p.add("users", "is missing")
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for i, client := range c.Clients {
		p.at = fmt.Sprintf("clients[%d].", i)
		if ids[client.ID] {
			p.add("id", "%q is used twice", client.ID)
		}
		ids[client.ID] = true
		client.check(p)
	}
	p.at = ""
	for name, open := range c.open() {
		if open != nil && len(open.Scopes) == 0 {
			p.add(name+".scopes", "is missing: such clients could ask for nothing")
		}
	}
	for i, user := range c.Users {
		p.at = fmt.Sprintf("users[%d].", i)
		if names[user.Username] {
			p.add("username", "%q is used twice", user.Username)
		}
		names[user.Username] = true
		user.check(p)
	}
	return errors.Join(p.list...)
}

// checkIssuer checks what the routes need; authorize.New checks the rest.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil {
		return err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is not an http or https URL", issuer)
	}
	if strings.ContainsAny(issuer, "?#@{}%") {
		return fmt.Errorf("%q has a query, a fragment, a user or an unusual character", issuer)
	}
	if u.Path != "" && u.Path != "/" && u.Path != path.Clean(u.Path) {
		return fmt.Errorf("%q has an unusual path: write it without a slash at the end", issuer)
	}
	return nil
}

func (c *clientConfig) check(p *problems) {
	if !printable(c.ID) {
		p.add("id", "%q is not 1 to 2048 printable ASCII characters", c.ID)
	}
	if c.Public && c.Secret != "" {
		p.add("secret", "a public client must not have a secret")
	}
	if !c.Public && c.Secret == "" {
		p.add("secret", `is missing; a client without a secret needs "public": true`)
	}
	if c.RedirectURIs == nil {
		p.add("redirect_uris", "is missing")
	}
	if c.Scopes == nil {
		p.add("scopes", "is missing")
	}
	for i, scope := range c.Scopes {
		if !printable(scope) || strings.ContainsAny(scope, ` "\`) {
			p.add(fmt.Sprintf("scopes[%d]", i), "%q is not a scope (RFC 6749 §3.3)", scope)
		}
	}
	p.addClient(authorize.CheckClient(c.registration()))
	for i, scope := range c.DefaultScopes {
		if slices.Contains(c.DefaultScopes[:i], scope) {
			p.add(fmt.Sprintf("default_scopes[%d]", i), "%q is listed twice", scope)
		}
	}
	switch {
	case c.PKCE == nil || *c.PKCE == "required":
	case *c.PKCE != "optional":
		p.add("pkce", `%q is neither "required" nor "optional"`, *c.PKCE)
	case c.Public:
		p.add("pkce", `"optional" is for clients with a secret`)
	}
}

func (u *userConfig) check(p *problems) {
	if u.Username == "" {
		p.add("username", "is missing")
	}
	if u.Password == "" {
		p.add("password", "is missing")
	}
	for i, workspace := range u.Workspaces {
		if workspace == "" || len(workspace) > 512 {
			p.add(fmt.Sprintf("workspaces[%d]", i), "is not 1 to 512 bytes")
		}
	}
	for name := range u.Claims {
		if slices.Contains(protocolClaims, name) {
			p.add("claims."+name, "only the provider can set this claim")
		}
	}
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			return false
		}
	}
	return text != "" && len(text) <= 2048
}

func (c *config) issuerOr(address string) string {
	if c.Issuer != nil {
		return *c.Issuer
	}
	return address
}

// codeLifetime is zero for the default of the library.
func (c *config) codeLifetime() time.Duration {
	if c.CodeLifetimeSeconds == nil {
		return 0
	}
	return time.Duration(*c.CodeLifetimeSeconds) * time.Second
}

// open are the members for clients that nobody registered, by their name.
func (c *config) open() map[string]*openConfig {
	return map[string]*openConfig{
		"registration":       c.Registration,      // feature dcr
		"metadata_documents": c.MetadataDocuments, // feature cimd
	}
}

// resources are nil if the file has none.
func (c *config) resources() authorize.Resources {
	if c.Resources == nil {
		return nil
	}
	list := authorize.ResourceMap{}
	for _, r := range c.Resources {
		list[r.ID] = authorize.Resource{Name: r.Name, Scopes: r.Scopes, Documentation: r.Documentation}
	}
	return list
}

// scopes are the scopes of all clients; responseTypes are their response types.
func (c *config) scopes() []string {
	scopes := []string{}
	for _, client := range c.Clients {
		scopes = append(scopes, client.Scopes...)
	}
	for _, open := range c.open() {
		if open != nil {
			scopes = append(scopes, open.Scopes...)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

func (c *config) responseTypes() []string {
	types := []string{}
	for _, client := range c.Clients {
		types = append(types, client.registration().ResponseTypes...)
	}
	slices.Sort(types)
	if types = slices.Compact(types); len(types) == 0 {
		return []string{"code"}
	}
	return types
}

// registration is the client for the authorization endpoint.
func (c *clientConfig) registration() authorize.Client {
	responseTypes := c.ResponseTypes
	if responseTypes == nil {
		responseTypes = []string{"code"}
	}
	var require []string
	if c.RequireState {
		require = []string{"state"}
	}
	return authorize.Client{
		ID:                c.ID,
		Name:              c.Name,
		Public:            c.Public,
		RedirectURIs:      c.RedirectURIs,
		PrivateUseSchemes: c.PrivateUseSchemes,
		AnyLoopbackPort:   c.Native || c.LocalhostAnyPort,
		Scopes:            c.Scopes,
		DefaultScopes:     c.DefaultScopes,
		ResponseTypes:     responseTypes,
		ResponseModes:     c.ResponseModes,
		ReturnPage:        c.ReturnPage, // feature returnpage
		PKCEOptional:      c.PKCE != nil && *c.PKCE == "optional",
		Require:           require,
		FirstParty:        c.FirstParty,
		Disabled:          c.Disabled,
	}
}
