package house

import (
	"go/ast"
	"go/build"
	"go/doc"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What readers copy compiles: every Go block of a Markdown file is a region of a Go file, between
// the lines "// region NAME" and "// endregion". Only the indentation that all lines have in
// common may differ. A region that no Markdown file shows has no reader.
func TestMarkdownShowsCodeThatIsCompiled(t *testing.T) {
	_, files := house(t)
	regions := map[string]string{} // their files
	for path := range files {
		for _, text := range regionsOf(t, path) {
			regions[text] = path
		}
	}
	shown := map[string]bool{}
	for _, path := range markdown(t) {
		for _, b := range goBlocks(read(t, path)) {
			text := dedent(b.text)
			shown[text] = true
			if regions[text] == "" {
				t.Errorf("%s:%d: this block is no region of a Go file that is compiled:\n%s", path, b.line, b.text)
			}
		}
	}
	for text, path := range regions {
		if !shown[text] {
			t.Errorf("%s: no Markdown file shows this region:\n%s", path, text)
		}
	}
	if len(shown) < 5 {
		t.Errorf("%d blocks: this test looks in the wrong place", len(shown))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var region = regexp.MustCompile(`(?ms)^[ \t]*// region \w+\n(.*?)^[ \t]*// endregion\n`)

// regionsOf returns the regions of a Go file, none of one that is never compiled.
func regionsOf(t *testing.T, path string) (regions []string) {
	dir, name := filepath.Split(filepath.Join(root, path))
	compiled, err := build.Default.MatchFile(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	if !compiled || regexp.MustCompile(`(^|/)(testdata/|[._])`).MatchString(path) {
		return nil
	}
	text := read(t, path)
	for _, match := range region.FindAllStringSubmatch(text, -1) {
		regions = append(regions, dedent(match[1]))
	}
	if marks := regexp.MustCompile(`(?m)^\s*// (end)?region\b`).FindAllString(text, -1); len(marks) != 2*len(regions) {
		t.Errorf("%s: a region has no name, no end or no beginning", path)
	}
	return regions
}

// markdown returns the paths of all Markdown files from the repository's root.
func markdown(t *testing.T) (paths []string) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if strings.EqualFold(filepath.Ext(path), ".md") {
			path, err = filepath.Rel(root, path)
			paths = append(paths, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil || !slices.Contains(paths, "README.md") {
		t.Fatalf("%q, %v", paths, err)
	}
	return paths
}

// block is fenced code that says that it is Go, and the line on which it begins.
type block struct {
	line int
	text string
}

var fence = regexp.MustCompile("^[ \t>]*(```+|~~~+)[ \t]*([[:alpha:]]*)")

func goBlocks(text string) (blocks []block) {
	open, language := "", ""
	for i, line := range strings.Split(text, "\n") {
		found := fence.FindStringSubmatch(line)
		switch {
		case open == "" && found != nil:
			open, language = found[1], strings.ToLower(found[2])
			if language == "go" || language == "golang" {
				blocks = append(blocks, block{line: i + 1})
			}
		case open != "" && found != nil && strings.TrimSpace(line) == open:
			open = ""
		case open != "" && (language == "go" || language == "golang"):
			blocks[len(blocks)-1].text += line + "\n"
		}
	}
	return blocks
}

// dedent takes away the indentation that all lines have in common, and blank lines around them.
func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	indentation := regexp.MustCompile(`^[ \t]*`).FindString(lines[0])
	for _, line := range lines {
		for line != "" && !strings.HasPrefix(line, indentation) {
			indentation = indentation[:len(indentation)-1]
		}
	}
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, indentation)
	}
	return strings.Join(lines, "\n")
}

// go doc and pkg.go.dev show an Example with its whole file, types and functions included, only
// if it is alone there: see go/doc.
func TestExamplesThatAreAFileAreShownWhole(t *testing.T) {
	set, files := house(t)
	looked, whole := 0, regexp.MustCompile(`^authorize/(tokenendpoint/)?example_`)
	for path, file := range files {
		if !whole.MatchString(path) || path == "authorize/example_test.go" {
			continue
		}
		looked++
		examples := doc.Examples(file)
		if len(examples) != 1 || examples[0].Output == "" {
			t.Errorf("%s has %d Examples: want one that is run", path, len(examples))
			continue
		}
		if _, ok := examples[0].Code.(*ast.File); !ok {
			t.Errorf("%s: %s would be shown without the rest of its file", path, examples[0].Name)
		}
		if lines := set.File(file.Pos()).LineCount(); lines > 135 {
			t.Errorf("%s has %d lines: nobody reads more than 135", path, lines)
		}
	}
	if looked < 10 {
		t.Errorf("%d files: this test looks in the wrong place", looked)
	}
}

func TestTheQuickstartIsShort(t *testing.T) {
	set, files := house(t)
	if lines := set.File(files["examples/quickstart/main.go"].Pos()).LineCount(); lines > 110 {
		t.Errorf("main.go of the quickstart has %d lines, want at most 110", lines)
	}
}
