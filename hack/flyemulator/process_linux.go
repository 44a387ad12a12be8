package flyemulator

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel kill the command if the emulator dies without ending it.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
