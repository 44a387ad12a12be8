package flyemulator

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel kill the command if the emulator dies without ending it. The kernel watches the thread that starts
// the command; Go ends a thread early only if a goroutine locked to it returns, and none here locks one.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
