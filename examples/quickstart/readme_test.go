package main

import (
	"os"
	"strings"
	"testing"
)

// The program that the README shows is the marked region of this one, byte for byte,
// and a reader sees all of it before line 40.
func TestReadmeShowsThisProgram(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, region, begun := strings.Cut(string(source), "// README begin\n")
	region, _, ended := strings.Cut(region, "\t// README end\n")
	if !begun || !ended {
		t.Fatal("main.go has no region between the lines README begin and README end")
	}
	before, _, shown := strings.Cut(string(readme), "```go\n"+region+"```\n")
	if !shown {
		t.Fatalf("README.md does not show this region of main.go:\n%s", region)
	}
	if last := strings.Count(before+region, "\n") + 1; last >= 40 {
		t.Errorf("the program in README.md ends at line %d, want it before line 40", last)
	}
	if lines := strings.Count(string(source), "\n"); lines > 70 {
		t.Errorf("main.go has %d lines, want at most 70", lines)
	}
}
