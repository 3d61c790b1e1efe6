//go:build !unix

package sample

import (
	"os"
	"os/exec"
)

// Where there are no process groups the command alone is killed, as os/exec does by
// itself; what it has started may live on, but cannot hold up an answer.
func ownGroup(*exec.Cmd) {}

func killGroup(int) error { return os.ErrProcessDone }
