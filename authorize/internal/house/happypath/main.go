// Happypath counts the module's functions that run for a request that gets a code at once, and
// their files. This path must stay short enough to read. Happypath prints the functions, and
// fails if there are more than the limits:
//
//	go run ./authorize/internal/house/happypath
//
// It uses the counts of a coverage profile: blocks that run for every request have at least
// as many runs as there are requests. Functions of tests do not count.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxFunctions = 40
	maxFiles     = 12
	minFunctions = 15 // fewer: the profile was misread

	module = "github.com/usher-auth/usher"
	house  = module + "/authorize/internal/house"
	ours   = module + "/authorize," + module + "/authorize/internal/...," +
		module + "/session," + module + "/pkce," + module + "/errors"
	requests = 5000
)

func main() {
	log.SetFlags(0)
	root, err := moduleRoot()
	if err != nil {
		log.Fatal(err)
	}
	ran, err := profile(root)
	if err != nil {
		log.Fatal(err)
	}
	functions, files := 0, 0
	for _, path := range slices.Sorted(maps.Keys(ran)) {
		names, err := functionsOf(filepath.Join(root, path), ran[path])
		if err != nil {
			log.Fatal(err)
		}
		if len(names) > 0 {
			files++
			functions += len(names)
			fmt.Printf("%-45s %s\n", path, strings.Join(names, " "))
		}
	}
	fmt.Printf("%d functions in %d files, at most %d in %d\n", functions, files, maxFunctions, maxFiles)
	if functions < minFunctions || functions > maxFunctions || files > maxFiles {
		log.Fatal("the happy path is not within its limits")
	}
}

// moduleRoot returns the folder of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	return strings.TrimSpace(string(out)), err
}

// block is a piece of a file, from line to line, that every request ran.
type block struct{ first, last int }

var profileLine = regexp.MustCompile(
	`(?m)^` + regexp.QuoteMeta(module) + `/(\S+\.go):(\d+)\.\d+,(\d+)\.\d+ \d+ (\d+)$`)

// profile runs the happy path in a process of its own. It returns the blocks that every request
// ran, by the path of the file from the root.
func profile(root string) (map[string][]block, error) {
	dir, err := os.MkdirTemp("", "happypath")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "profile")
	test := exec.Command("go", "test", "-run", "^TestTheHappyPath$", "-covermode=count",
		"-coverpkg="+ours, "-coverprofile="+out, house)
	test.Dir, test.Env = root, append(os.Environ(), "USHER_HAPPY_REQUESTS="+strconv.Itoa(requests))
	if text, err := test.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	ran := map[string][]block{}
	for _, found := range profileLine.FindAllStringSubmatch(string(text), -1) {
		first, _ := strconv.Atoi(found[2])
		last, _ := strconv.Atoi(found[3])
		if times, _ := strconv.Atoi(found[4]); times >= requests {
			ran[found[1]] = append(ran[found[1]], block{first, last})
		}
	}
	return ran, nil
}

// functionsOf returns the names of a file's functions that have one of the blocks.
func functionsOf(path string, ran []block) (names []string, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		first, last := set.Position(function.Body.Lbrace).Line, set.Position(function.Body.Rbrace).Line
		if slices.ContainsFunc(ran, func(b block) bool { return b.first >= first && b.last <= last }) {
			names = append(names, function.Name.Name)
		}
	}
	return names, nil
}
