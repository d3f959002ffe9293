package interop

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// update writes the screenshots again. The programs then use their default port, which is
// visible on some pages.
var update = flag.Bool("update", false, "write ../screenshots, with the programs on port 8080")

// axeVersion is the version of axe-core, which finds problems with accessibility.
const axeVersion = "4.14.1"

// axe returns the script of axe-core, from npm or from the cache.
var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "usher-interop")
	file := filepath.Join(dir, "axe-core-"+axeVersion+".min.js")
	if script, err := os.ReadFile(file); err == nil {
		return string(script), nil
	}
	script, err := fetchAxe()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(file+".new", script, 0o600); err != nil {
		return "", err
	}
	return string(script), os.Rename(file+".new", file)
})

func fetchAxe() ([]byte, error) {
	dir, err := os.MkdirTemp("", "usher-axe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("npm", "pack", "axe-core@"+axeVersion, "--silent")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm pack: %w\n%s", err, out)
	}
	packed, err := os.Open(filepath.Join(dir, "axe-core-"+axeVersion+".tgz"))
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unpacked); ; {
		header, err := files.Next()
		if err != nil {
			return nil, errors.Join(errors.New("axe.min.js is not in the package"), err)
		}
		if header.Name == "package/axe.min.js" {
			return io.ReadAll(files)
		}
	}
}

// gallery is a program whose pages are checked.
type gallery struct {
	tab
	example string
	issuer  string
}

// visit starts an example and opens a tab in a new profile.
func visit(t *testing.T, example string, args ...string) gallery {
	t.Helper()
	b := newTab(t)
	if *update {
		args = append(args, "-addr", "127.0.0.1:8080")
	}
	return gallery{b, example, start(t, example, args...)}
}

// next continues in another tab.
func (g gallery) next() gallery {
	g.t.Helper()
	g.tab = g.another()
	return g
}

// at is the address of the example under another host.
func (g gallery) at(host string) string { return strings.Replace(g.issuer, "127.0.0.1", host, 1) }

// windows are a desktop and a phone.
var windows = []struct {
	name          string
	width, height int64
}{{"desk", 1000, 700}, {"phone", 390, 700}}

// looks checks the page in the tab. shot, if given, is the name of the screenshots.
func (g gallery) looks(title string, shot ...string) {
	g.t.Helper()
	g.do(chromedp.WaitVisible(chromedp.CSS("h1")))
	const frame = `Promise.resolve([
		document.documentElement.lang == "en" && document.querySelector("meta[name=viewport]") && "en",
		document.querySelector("header .mark") && document.querySelector("header").innerText.split(/\s/)[0],
		document.querySelector("link[rel=icon]") && "icon",
		document.querySelectorAll("h1").length,
		document.querySelector("main a, main button") && "a way on",
		document.querySelector("input[name=password]:not([autocomplete=new-password])") &&
			!document.body.innerText.includes("You can sign in as alice with the password alice-password") && "no hint",
	].join(", "))`
	if got, want := g.evaluate(frame), "en, "+g.example+", icon, 1, a way on, false"; got != want && got != strings.TrimSuffix(want, "false") {
		g.t.Errorf("the page has %q, want %q; it is %s", got, want, g.page())
	}
	if got := g.evaluate("Promise.resolve(document.title)"); !strings.HasPrefix(got, title+" · ") || strings.HasSuffix(got, "· ") {
		g.t.Errorf("the title is %q, want %q and the site", got, title)
	}
	g.isAccessible()
	for _, window := range windows {
		g.do(chromedp.EmulateViewport(window.width, window.height))
		if wide := g.evaluate(`Promise.resolve(document.documentElement.scrollWidth > innerWidth ? "yes" : "")`); wide != "" {
			g.t.Errorf("on a %s the page is too wide: the page is %s", window.name, g.page())
		}
		for _, name := range shot {
			g.takePicture(name + "-" + window.name)
		}
	}
	g.do(chromedp.EmulateViewport(windows[0].width, windows[0].height))
}

// isAccessible checks the page with axe-core, light and dark.
func (g gallery) isAccessible() {
	g.t.Helper()
	script, err := axe()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		if _, err := chromedp.Call(g.ctx, emulation.SetEmulatedMedia, media); err != nil {
			g.t.Fatal(err)
		}
		found := g.evaluate(script + `;axe.run().then(r => r.violations.concat(r.incomplete).flatMap(v =>
			v.nodes.map(n => v.id + ": " + n.failureSummary + " in " + n.html)).join("\n"))`)
		if found != "" {
			g.t.Errorf("%s: axe-core finds\n%s\nin %s", scheme, found, g.page())
		}
	}
	if _, err := chromedp.Call(g.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}); err != nil {
		g.t.Fatal(err)
	}
}

func (g gallery) takePicture(name string) {
	g.t.Helper()
	shot, err := chromedp.Run(g.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		g.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		g.t.Fatal(err)
	}
	small, colors := reduce(picture)
	if colors < 50 { // the edges of letters alone have more
		g.t.Errorf("%s: the page is blank: it has %d colours", name, colors)
	}
	if !*update {
		return
	}
	var file bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&file, small); err != nil {
		g.t.Fatal(err)
	}
	if file.Len() > 60<<10 {
		g.t.Errorf("%s has %d bytes, which is much for a repository", name, file.Len())
	}
	if err := os.WriteFile(filepath.Join("..", "screenshots", name+".png"), file.Bytes(), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// reduce keeps the 256 most frequent colours, for a smaller file. It returns the number of
// colours before.
func reduce(picture image.Image) (small image.Image, colors int) {
	pixels := map[color.Color]int{}
	bounds := picture.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			pixels[picture.At(x, y)]++
		}
	}
	palette := color.Palette(slices.SortedFunc(maps.Keys(pixels), func(a, b color.Color) int { return pixels[b] - pixels[a] }))
	paletted := image.NewPaletted(bounds, palette[:min(len(palette), 256)])
	draw.Draw(paletted, bounds, picture, image.Point{}, draw.Src)
	return paletted, len(pixels)
}

// forges posts a form from another site.
func (g gallery) forges(path string) {
	g.t.Helper()
	g.open(newSite(g.t).url + "/post?to=" + url.QueryEscape(g.issuer+path))
	g.click("button")
}

// TestPagesInChromium looks at every kind of page of the examples.
func TestPagesInChromium(t *testing.T) {
	if _, err := axe(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no axe-core: %v", err)
		}
		t.Skipf("there is no axe-core: %v", err)
	}
	for name, look := range map[string]func(t *testing.T){
		"quickstart":    lookAtQuickstart,
		"provider":      lookAtProvider,
		"strict-pkce":   lookAtStrictPKCE,
		"account-pages": lookAtAccountPages,
		"tenants":       lookAtTenants,
		"replicas":      lookAtReplicas,
		"out-of-band":   lookAtOutOfBand,
	} {
		t.Run(name, look)
	}
}

func lookAtQuickstart(t *testing.T) {
	g := visit(t, "quickstart")
	g.open(g.issuer)
	g.looks("Demo", "quickstart-start")
	g.click("main a")
	g.looks("Sign in")
	g.logIn("wrong")
	g.looks("Sign in")
	g.decide("deny")
	g.looks("Not signed in")
	g.click("main a")
	g.logIn(alice.Password)
	g.looks("Signed in", "quickstart-signed-in")
	g = g.next()
	g.open(g.issuer + "/nowhere")
	g.looks("There is no such page")
	g.open(g.issuer + "/logout")
	g.looks("There is no page to show here")
	g.forges("/login")
	g.looks("This form was not accepted")
	g.open(g.issuer + "/authorize?client_id=nobody")
	g.looks("Sign-in cannot continue")
}

func lookAtProvider(t *testing.T) {
	g := visit(t, "provider", "-explain")
	g.open(g.issuer)
	g.looks("You are not signed in")
	g.click(`a[href$="/try"]`)
	g.looks("Sign in")
	g.logIn("wrong")
	g.looks("Sign in")
	g.logIn(alice.Password)
	g.looks("Allow access?", "provider-consent")
	g.decide("allow")
	g.looks("Demo app")
	g.click(`a[href$="/try"]`)
	g.decide("deny")
	g.looks("Demo app")

	g = g.next()
	g.open(g.issuer + "/login?another")
	g.logInAs(bob)
	g.looks("You are signed in")
	g.open(g.issuer + "/login?another")
	g.looks("Sign in")
	g.open(g.issuer + "/accounts")
	g.looks("Choose an account", "provider-accounts")
	g.open(g.issuer + "/logout")
	g.looks("Sign out")
	g.click("button")
	g.looks("You are not signed in")

	g = g.next()
	g.open(g.issuer + "/explain")
	g.looks("Explain a request")
	asked := g.issuer + "/authorize?client_id=demo-app&redirect_uri=" + url.QueryEscape(g.issuer+"/callback") +
		"&response_type=code&scope=openid&state=xyz&code_challenge=too-short&code_challenge_method=S256"
	g.do(chromedp.SetValue(chromedp.CSS("#url"), asked))
	g.click("button")
	g.looks("Explain a request", "provider-explain")
	g.open(g.issuer + "/authorize?client_id=nobody")
	g.looks("Sign-in cannot continue")
	g.open(g.issuer + "/nowhere")
	g.looks("There is no such page")
	g.open(g.issuer + "/token")
	g.looks("There is no page to show here")
	g.forges("/login")
	g.looks("This form was not accepted")
}

func lookAtStrictPKCE(t *testing.T) {
	g := visit(t, "strict-pkce")
	client := g.at("client.localhost")
	g.open(client)
	g.looks("Single-page client", "strict-pkce-client")
	g.click("#sign-in")
	g.looks("Sign in")
	g.logIn("wrong")
	g.looks("Sign in")
	g.logIn(alice.Password)
	g.looks("Allow access?")
	g.decide("allow")
	g.text("#status.note")
	g.looks("Single-page client")

	g = g.next()
	g.open(client)
	g.click(`button[data-without="scope"]`)
	g.text("#status.wrong")
	g.looks("Single-page client")
	g.click(`button[data-without="client_id"]`)
	g.looks("Sign-in cannot continue")
	g.open(client + "/login")
	g.looks("There is no such page")
	g.open(g.issuer + "/nowhere")
	g.looks("There is no such page")
	g.forges("/consent")
	g.looks("This form was not accepted")
}

func lookAtAccountPages(t *testing.T) {
	g := visit(t, "account-pages")
	g.open(g.at("client-a.localhost"))
	g.looks("The Club")
	g.click(`a[href$="x_method=edit-account"]`)
	g.looks("Sign in")
	g.logIn("wrong")
	g.looks("Sign in")
	g.logIn(alice.Password)
	g.looks("Share with The Club?")
	g.decide("allow")
	g.looks("Your account", "account-pages-edit")
	g.decide("save")
	g.looks("The Club")

	g = g.next()
	g.open(g.issuer)
	g.looks("Your account")
	g.click(`form[action="/"] button`)
	g.looks("Your account")
	g.click(`a[href="/newsletters"]`)
	g.looks("Your newsletters")
	g.open(g.issuer + "/register")
	g.looks("Create account")
	g.do(chromedp.SetValue(chromedp.CSS("#username"), "bob"), chromedp.SetValue(chromedp.CSS("#name"), "Bob"))
	g.evaluate(`Promise.resolve(document.querySelector("#password").value = "x".repeat(70_000), "")`)
	g.click("button")
	g.looks("This form cannot be read")

	g = g.next()
	g.open(g.issuer + "/oauth2/authorize?client_id=nobody")
	g.looks("Sign-in cannot continue")
	g.open(g.issuer + "/nowhere")
	g.looks("There is no such page")
	g.open(g.at("client-b.localhost") + "/nowhere")
	g.looks("There is no such page")
	g.open(g.at("client-b.localhost") + "/callback")
	g.looks("The Shop")
	g.open(g.at("client-c.localhost"))
	g.looks("There is no such site")
	g.open(g.issuer + "/logout")
	g.looks("There is no page to show here")
	g.forges("/register")
	g.looks("This form was not accepted")
}

func lookAtTenants(t *testing.T) {
	g := visit(t, "tenants")
	on := tenants{desk: g.issuer, app: g.at("app.localhost"), port: g.issuer[strings.LastIndex(g.issuer, ":")+1:]}
	g.open(on.app)
	g.looks("Notes")
	g.try(on, "globex", "sign-in")
	g.looks("Globex", "tenants-login")
	process := g.evaluate("Promise.resolve(location.origin)")
	g.logIn("wrong")
	g.looks("Globex")
	g.logIn(alice.Password)
	g.looks("Notes")
	g.open(g.at("globex.localhost"))
	g.looks("Globex")
	g.try(on, "acme", "sign-in")
	g.looks("Sign in")
	g.decide("deny")
	g.looks("Notes")

	g = g.next()
	g.try(on, "acme", "unknown")
	g.looks("Sign-in cannot continue")
	g.try(on, "globex", "unknown")
	g.looks("Oops")
	g.open(on.desk)
	g.looks("Operator")
	g.click(`#initech form[action="/outage"] button`)
	g.looks("Operator")
	g.open(g.at("initech.localhost"))
	g.looks("Initech")

	g = g.next()
	for _, page := range []string{on.app, on.desk, g.at("acme.localhost"), process} {
		g.open(page + "/nowhere/at/all")
		g.looks("There is no such page")
	}
	g.open(g.at("hooli.localhost"))
	g.looks("There is no such site")
	g.open(g.at("acme.localhost") + "/sign-out")
	g.looks("There is no page to show here")
	g.forges("/maintenance")
	g.looks("This form was not accepted")
}

func lookAtReplicas(t *testing.T) {
	g := visit(t, "replicas", "-sqlite", filepath.Join(t.TempDir(), "usher.db"))
	g.open(g.issuer)
	g.looks("One provider in several processes")
	g.click("a.main")
	g.looks("Sign in")
	g.logIn("wrong")
	g.looks("Sign in")
	g.logIn(alice.Password)
	g.looks("Allow access?")
	g.decide("allow")
	g.looks("One provider in several processes", "replicas-home")

	g = g.next()
	g.open(g.issuer + "/authorize?client_id=nobody")
	g.looks("Sign-in cannot continue")
	g.open(g.issuer + "/callback?state=made-up")
	g.looks("This response was not accepted")
	g.open(g.issuer + "/nowhere")
	g.looks("There is no such page")
	g.open(g.issuer + "/sign-out")
	g.looks("There is no page to show here")
	g.forges("/kill")
	g.looks("This form was not accepted")
}

func lookAtOutOfBand(t *testing.T) {
	g := visit(t, "out-of-band")
	g.open(g.issuer)
	g.looks("Commands to try")
	g.open(g.issuer + "/nowhere")
	g.looks("There is no such page")
	g.open(g.issuer + "/oauth/token")
	g.looks("There is no page to show here")
}
