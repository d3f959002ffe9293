// Package interop has only tests: other people's clients and a real browser use the
// example programs, which are built and started as a person would. It is a module of
// its own so that what it needs stays out of the library's go.mod.
package interop
