package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"time"

	"doorward/gate"
)

//go:embed pages/style.css
var styleSource []byte

// stylePath is where the stylesheet stands, after the prefix.
const stylePath = "/auth/style.css"

// style is the one stylesheet; version changes with its content.
type style struct {
	source  []byte
	version string
}

func readStyle() style {
	sum := sha256.Sum256(styleSource)
	return style{source: styleSource, version: hex.EncodeToString(sum[:8])}
}

// showStyle answers with the stylesheet. Under the address that pages name it by it never
// changes, so it may be kept; under any other it is asked for again.
func (h *web) showStyle(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	header := w.Header()
	guard(header, p)
	header.Set("Content-Type", "text/css; charset=utf-8")
	header.Set("ETag", `"`+h.style.version+`"`)
	header.Set("Cache-Control", "no-cache")
	if r.URL.RawQuery == "v="+h.style.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.style.source))
	return nil
}
