package main

import "golang.org/x/sys/unix"

// forbidDumps keeps the kernel from writing this process's memory, tokens and logins included, to a core file or to whatever the machine pipes core
// files to, and other processes of the same account from reading it.
func forbidDumps() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
