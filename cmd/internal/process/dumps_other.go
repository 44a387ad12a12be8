//go:build !linux

package process

// ForbidDumps does nothing: manager and gateway run on Linux, and elsewhere tcred leaves dumps to the user's settings.
func ForbidDumps() error { return nil }
