package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"doorward/gate"
)

//go:embed pages/style.css
var styleSource []byte

// stylePath is where the stylesheet stands, after the prefix.
const stylePath = "/auth/style.css"

// asset is a file that pages load; version changes with its content.
type asset struct {
	source  []byte
	version string
}

func newAsset(source []byte) asset {
	sum := sha256.Sum256(source)
	return asset{source: source, version: hex.EncodeToString(sum[:8])}
}

// showStyle answers with the one stylesheet.
func (h *web) showStyle(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	return h.style.serve(w, r, "text/css; charset=utf-8")
}

// serve answers with the asset. Under the address that pages name it by it never changes, so
// it may be kept; under any other it is asked for again.
func (a asset) serve(w http.ResponseWriter, r *http.Request, kind string) error {
	header := w.Header()
	guard(header)
	if strings.HasPrefix(kind, "image/") {
		header.Set("Content-Security-Policy", picturePolicy)
	}
	header.Set("Content-Type", kind)
	header.Set("ETag", `"`+a.version+`"`)
	header.Set("Cache-Control", "no-cache")
	if r.URL.RawQuery == "v="+a.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.source))
	return nil
}
