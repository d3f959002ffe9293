// Package interop has only tests. In them, third-party clients and a real browser use the
// example programs, which are built and started as a user would do it. It is a separate
// module, so that its dependencies stay out of the library's go.mod.
package interop
