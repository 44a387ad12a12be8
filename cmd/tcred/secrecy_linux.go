package main

import "golang.org/x/sys/unix"

// forbidDumps keeps the kernel from writing this process's memory, token and password included, to a core file, and other processes of the same
// user from reading it and its environment.
func forbidDumps() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
