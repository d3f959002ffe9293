package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// The rules of the house, held by tests. They read the source of the whole
// repository.

const (
	module = "github.com/usher-auth/usher"
	root   = "../../.."
)

// house is every Go file, parsed, by its path from the repository's root.
func house(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	files, err := parsed()
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return fileSet, files
}

var fileSet = token.NewFileSet()

// parsed reads them once for all tests, which change nothing in them.
var parsed = sync.OnceValues(func() (map[string]*ast.File, error) {
	files := map[string]*ast.File{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fileSet, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if path, err = filepath.Rel(root, path); err == nil {
			files[filepath.ToSlash(path)] = file
		}
		return err
	})
	return files, err
})

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

func importsOf(file *ast.File) (paths []string) {
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func TestTheModuleRequiresTwoOthers(t *testing.T) {
	text, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			direct = append(direct, fields[0])
		}
	}
	slices.Sort(direct)
	if want := []string{"github.com/google/go-cmp", "github.com/lestrrat-go/jwx/v2"}; !slices.Equal(direct, want) {
		t.Errorf("the module requires %v, want %v", direct, want)
	}
	if !regexp.MustCompile(`(?m)^go 1\.25(\.0)?$`).Match(text) || strings.Contains(string(text), "replace ") {
		t.Errorf("go.mod names another Go than 1.25, or replaces something:\n%s", text)
	}
}

func TestOnlyJoseImportsJWX(t *testing.T) {
	_, files := house(t)
	found := false
	for path, file := range files {
		for _, imported := range importsOf(file) {
			if !strings.Contains(imported, "lestrrat-go") {
				continue
			}
			found = true
			if !strings.HasPrefix(path, "authorize/internal/jose/") {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
	if !found {
		t.Error("nobody imports jwx: this test looks in the wrong place")
	}
}

// A change of library must stay a change of one package.
func TestNoTypeOfJWXIsExported(t *testing.T) {
	set, files := house(t)
	for path, file := range files {
		if !strings.HasPrefix(path, "authorize/internal/jose/") || isTest(path) {
			continue
		}
		for _, decl := range file.Decls {
			ast.Inspect(exportedSurface(decl), func(n ast.Node) bool {
				selector, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if name, ok := selector.X.(*ast.Ident); ok && slices.Contains([]string{"jwa", "jwk", "jws", "jwt", "jwe"}, name.Name) {
					t.Errorf("%s: %s.%s in an exported signature", set.Position(n.Pos()), name.Name, selector.Sel.Name)
				}
				return true
			})
		}
	}
}

// exportedSurface is what of a declaration a caller sees: the signature of an
// exported function, exported types with their exported fields, variables.
func exportedSurface(decl ast.Decl) ast.Node {
	surface := &ast.FieldList{}
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Name.IsExported() {
			return decl.Type
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				structure, ok := spec.Type.(*ast.StructType)
				if !spec.Name.IsExported() {
					continue
				}
				if !ok {
					surface.List = append(surface.List, &ast.Field{Type: spec.Type})
					continue
				}
				for _, field := range structure.Fields.List {
					if len(field.Names) == 0 || field.Names[0].IsExported() {
						surface.List = append(surface.List, field)
					}
				}
			case *ast.ValueSpec:
				if spec.Names[0].IsExported() && spec.Type != nil {
					surface.List = append(surface.List, &ast.Field{Type: spec.Type})
				}
			}
		}
	}
	return surface
}

func TestImportsRunOneWay(t *testing.T) {
	_, files := house(t)
	allowed := map[string][]string{ // of ours, by package; tests and examples may import what they test
		"pkce":                           {},
		"errors":                         {},
		"session":                        {"errors"},
		"authorize/internal/jose":        {},
		"authorize/internal/uri":         {},
		"authorize/internal/form":        {},
		"authorize/internal/destination": {"errors", "authorize/internal/uri"},
		"authorize/internal/clientmeta":  {"authorize/internal/uri"},
		"authorize": {
			"pkce", "errors", "session",
			"authorize/internal/jose", "authorize/internal/destination", "authorize/internal/uri",
			"authorize/internal/form",
		},
		"authorize/dcr": {
			"errors", "authorize", "authorize/internal/clientmeta", "authorize/internal/jose", "authorize/internal/uri",
		},
		"authorize/cimd": {"authorize", "errors", "authorize/internal/clientmeta", "authorize/internal/uri"},
	}
	for path, file := range files {
		dir := filepath.ToSlash(filepath.Dir(path))
		may, ruled := allowed[dir]
		if !ruled || isTest(path) {
			continue
		}
		for _, imported := range importsOf(file) {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s", path, ours)
			}
			if strings.Contains(imported, ".") && !strings.HasPrefix(imported, module) && dir != "authorize/internal/jose" {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// What is for tests stays out of programs: package testing adds its flags to theirs.
func TestNoProgramLinksTesting(t *testing.T) {
	_, files := house(t)
	imports, programs := map[string][]string{}, []string{}
	for path, file := range files {
		if isTest(path) {
			continue
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		imports[dir] = append(imports[dir], importsOf(file)...)
		if file.Name.Name == "main" && !slices.Contains(programs, dir) {
			programs = append(programs, dir)
		}
	}
	if len(programs) < 5 {
		t.Errorf("the programs are %q: this test looks in the wrong place", programs)
	}
	for _, program := range programs {
		seen := map[string]bool{}
		var follow func(dir, way string)
		follow = func(dir, way string) {
			if seen[dir] {
				return
			}
			seen[dir] = true
			for _, imported := range imports[dir] {
				if imported == "testing" || strings.HasPrefix(imported, "testing/") {
					t.Errorf("%s imports %s", way, imported)
				}
				if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
					follow(ours, way+" imports "+ours)
				}
			}
		}
		follow(program, program)
	}
}

// A store that a stranger writes can do what ours do.
func TestStoresImportNothingInternal(t *testing.T) {
	_, files := house(t)
	looked := 0
	for path, file := range files {
		if !strings.HasPrefix(path, "authorize/sqlstore/") && !strings.HasPrefix(path, "authorize/redisstore/") {
			continue
		}
		looked++
		for _, imported := range importsOf(file) {
			if strings.HasPrefix(imported, module) && strings.Contains(imported, "/internal/") {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
	if looked < 30 {
		t.Errorf("%d files: this test looks in the wrong place", looked)
	}
}

// An unproven address must have no way into the header.
func TestOnePlaceWritesLocation(t *testing.T) {
	set, files := house(t)
	writers := 0
	for path, file := range files {
		if filepath.Dir(path) != "authorize" || isTest(path) {
			continue
		}
		for _, decl := range file.Decls {
			function, _ := decl.(*ast.FuncDecl)
			ast.Inspect(decl, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					if strings.EqualFold(strings.Trim(n.Value, "\"`"), "location") {
						writers++
						if function == nil || function.Name.Name != "redirect" {
							t.Errorf("%s: Location outside of redirect", set.Position(n.Pos()))
						}
					}
				case *ast.SelectorExpr:
					if name := n.Sel.Name; slices.Contains([]string{"Redirect", "RedirectHandler", "StatusTemporaryRedirect", "StatusPermanentRedirect", "StatusMovedPermanently"}, name) {
						t.Errorf("%s: %s", set.Position(n.Pos()), name)
					}
				}
				return true
			})
		}
	}
	if writers != 1 {
		t.Errorf("Location is written in %d places, want 1", writers)
	}
}

func TestTheSpineFitsOnOneScreen(t *testing.T) {
	set, files := house(t)
	lines := 0
	for _, decl := range files["authorize/authorize.go"].Decls {
		function, ok := decl.(*ast.FuncDecl)
		if ok && (function.Name.Name == "ServeHTTP" || function.Name.Name == "answer") {
			lines += set.Position(function.Body.Rbrace).Line - set.Position(function.Body.Lbrace).Line - 1
		}
	}
	if lines < 10 || lines > 45 {
		t.Errorf("ServeHTTP and answer have %d lines, want at most 45", lines)
	}
}

func TestFunctionsAreShort(t *testing.T) {
	set, files := house(t)
	for path, file := range files {
		if isTest(path) {
			continue
		}
		for _, decl := range file.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Body == nil {
				continue
			}
			if lines := set.Position(function.End()).Line - set.Position(function.Pos()).Line + 1; lines >= 70 {
				t.Errorf("%s: %s has %d lines", path, function.Name.Name, lines)
			}
		}
	}
}

func TestFilesAndLinesAreShort(t *testing.T) {
	_, files := house(t)
	for path := range files {
		if isTest(path) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			wide := strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")
			if columns := utf8.RuneCountInString(wide); columns > 120 {
				t.Errorf("%s:%d: %d columns, want at most 120, a tab as four", path, number, columns)
			}
		}
		if number > 400 {
			t.Errorf("%s has %d lines, want at most 400", path, number)
		}
	}
}

// What an example is about is read first, and in one go.
func TestTheMainFileOfAnExampleIsShort(t *testing.T) {
	set, files := house(t)
	for path, file := range files {
		if !strings.HasPrefix(path, "examples/") || filepath.Base(path) != "main.go" {
			continue
		}
		t.Run(path, func(t *testing.T) {
			if lines := set.File(file.Pos()).LineCount(); lines > 150 {
				t.Errorf("it has %d lines, want less than 150", lines)
			}
		})
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	set, files := house(t)
	for path, file := range files {
		dir := filepath.ToSlash(filepath.Dir(path))
		if isTest(path) || strings.HasPrefix(dir, "examples") || strings.Contains(dir, "internal") {
			continue
		}
		for _, decl := range file.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%s: %s has no comment", set.Position(name.Pos()), name.Name)
			}
		}
	}
}

// undocumented returns the exported names of a declaration that neither have a
// comment nor share that of their group. A comment of a name begins with it.
func undocumented(decl ast.Decl) (names []*ast.Ident) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Name.IsExported() && exportedReceiver(decl) && (decl.Doc == nil || !mentions(decl.Doc, decl.Name.Name)) {
			names = append(names, decl.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				doc := spec.Doc
				if doc == nil {
					doc = decl.Doc
				}
				if spec.Name.IsExported() && (doc == nil || !mentions(doc, spec.Name.Name)) {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				if spec.Names[0].IsExported() && decl.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					names = append(names, spec.Names[0])
				}
			}
		}
	}
	return names
}

func mentions(doc *ast.CommentGroup, name string) bool {
	first, _, _ := strings.Cut(doc.Text(), "\n")
	return strings.Contains(first, name)
}

func exportedReceiver(function *ast.FuncDecl) bool {
	if function.Recv == nil {
		return true
	}
	receiver := function.Recv.List[0].Type
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver = pointer.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}

// Each example stands alone, so all that have pages have copies of these.
func TestTheCopiesInExamplesAreEqual(t *testing.T) {
	for _, name := range []string{"pages/style.css", "refused.go"} {
		copies, err := filepath.Glob(root + "/examples/*/" + name)
		if err != nil || len(copies) < 6 {
			t.Fatalf("%d copies of %s, %v: this test looks in the wrong place", len(copies), name, err)
		}
		want, err := os.ReadFile(copies[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range copies[1:] {
			if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
				t.Errorf("%s is not %s: %v", path, copies[0], err)
			}
		}
	}
}

// No page of an example needs a style beyond the one that they share.
func TestExamplesHaveOneStyle(t *testing.T) {
	pages, err := filepath.Glob(root + "/examples/*/pages/*")
	if err != nil || len(pages) < 40 {
		t.Fatalf("%d pages, %v: this test looks in the wrong place", len(pages), err)
	}
	other := regexp.MustCompile(`\bstyle=|<style>[^{]`)
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if other.Match(text) || strings.HasSuffix(path, ".css") && filepath.Base(path) != "style.css" {
			t.Errorf("%s has a style of its own", path)
		}
	}
}

// Names that say nothing, and notes that were meant to go.
func TestNothingIsLeftLyingAbout(t *testing.T) {
	set, files := house(t)
	vague := regexp.MustCompile(`(Manager|Provider|Strategy|Helper|Util|Utils)$`)
	// Put together here so that this file does not find itself.
	left := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|C` + `VE-\d|GH` + `SA-)|\bt\.Sk` + `ip|stretchr/test` + `ify|go` + `mock`)
	for path, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && vague.MatchString(spec.Name.Name) {
				t.Errorf("%s: the type %s", set.Position(n.Pos()), spec.Name.Name)
			}
			return true
		})
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		// Where there is no browser, a test that drives one has nothing to drive.
		needsBrowser := strings.HasPrefix(path, "examples/interop/")
		if found := left.Find(text); found != nil && !(needsBrowser && strings.HasPrefix(string(found), "t.")) {
			t.Errorf("%s has %q in it", path, found)
		}
	}
}
