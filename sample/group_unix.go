//go:build unix

package sample

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup gives cmd a process group of its own, all of which is killed when its context
// ends: a program that has started others must not leave them behind.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
}

// killGroup kills the group that pid leads, and returns os.ErrProcessDone if there is none.
func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
