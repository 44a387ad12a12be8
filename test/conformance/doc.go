// Package conformance asks the Machines API of Fly.io whether it behaves as the operator and the emulator take it to.
//
// It has two kinds of tests. A contract is what the operator relies on: it holds, or the test fails. A finding is the answer to a
// question that Fly's documents leave open: it fails no test, and is printed beside what the emulator's switches, or the operator, assume.
//
// Everything goes through the public API, so that the same tests run against Fly itself and against the emulator, which is what they run
// against in `go test ./...`. `make fly-conformance` with FLY_API_TOKEN and FLY_APP runs them against Fly; docs/fly-conformance.md says what
// they touch there.
package conformance
