//go:build !linux

package main

// forbidDumps does nothing: the gateway runs on Linux.
func forbidDumps() error { return nil }
