package process

import "golang.org/x/sys/unix"

// ForbidDumps keeps the kernel from writing this process's memory, passwords and tokens included, to a core file or to a program that the machine pipes core
// files to, and other processes of the same account from reading it and its environment.
func ForbidDumps() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
