//go:build !linux

package main

// forbidDumps does nothing: the operator runs on Linux.
func forbidDumps() error { return nil }
