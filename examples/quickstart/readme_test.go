package main

import (
	"os"
	"strings"
	"testing"
)

// The program that the README shows is the marked region of this one, byte for byte.
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
	if !strings.Contains(string(readme), "```go\n"+region+"```\n") {
		t.Fatalf("README.md does not show this region of main.go:\n%s", region)
	}
	if lines := strings.Count(string(source), "\n"); lines > 110 {
		t.Errorf("main.go has %d lines, want at most 110", lines)
	}
}
