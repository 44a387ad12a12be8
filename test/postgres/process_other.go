//go:build !linux

package pgserver

import "syscall"

// endWithUs does nothing: only Linux knows a parent-death signal.
func endWithUs(*syscall.SysProcAttr) {}
