package pgserver

import "syscall"

// endWithUs has the kernel send a fast shutdown when we die.
func endWithUs(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGINT }
