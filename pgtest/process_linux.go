package pgtest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// orphansEnd lets a process end with the thread that starts it.
func orphansEnd(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// memory is a directory whose files lie in memory.
const memory = "/dev/shm"

// memoryFree is how many bytes can be written there.
func memoryFree() uint64 {
	var s syscall.Statfs_t
	if syscall.Access(memory, 2) != nil || syscall.Statfs(memory, &s) != nil {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}

// children lists the children of process pid.
func children(pid int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var all []int
	for _, name := range files {
		stat, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		// pid (name) state parent ...; the name may hold anything
		_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
		fields := bytes.Fields(rest)
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		all = append(all, child)
	}
	return all, nil
}
