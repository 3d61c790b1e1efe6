//go:build !unix

package safe

import (
	"io/fs"
	"os"
)

// ownLike does nothing where files are not given away.
func ownLike(*os.File, fs.FileInfo) error { return nil }
