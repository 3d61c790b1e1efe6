//go:build unix

package safe

import (
	"io/fs"
	"os"
	"syscall"
)

// ownLike gives f to the owner of like, as who may do that: a secret that root writes
// must be one that the server can read.
func ownLike(f *os.File, like fs.FileInfo) error {
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() == int(owner.Uid) {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
