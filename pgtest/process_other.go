//go:build unix && !linux

package pgtest

import (
	"errors"
	"syscall"
)

func orphansEnd(*syscall.SysProcAttr) {}

func children(int) ([]int, error) {
	return nil, errors.New("only on Linux are a server's processes known")
}

const memory = ""

func memoryFree() uint64 { return 0 }
