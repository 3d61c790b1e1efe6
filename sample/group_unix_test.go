//go:build unix

package sample_test

import (
	"os/exec"
	"syscall"
)

// leaveGroup starts cmd in a session of its own, out of the service's reach.
func leaveGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
