package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"doorward/gate"
)

// cacheable is how long, in seconds, what is public may be kept by who fetches it.
const cacheable = "public, max-age=300"

// writeCacheable answers with a text that is JSON and the same for everybody, or says that
// the one that the client has is still the same.
func writeCacheable(w http.ResponseWriter, r *http.Request, text string) {
	sum := sha256.Sum256([]byte(text))
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Cache-Control", cacheable)
	h.Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	gate.WriteRaw(w, http.StatusOK, text)
}

// matches reports whether one of the lines of If-None-Match names tag (RFC 9110, section 13.1.2).
func matches(lines []string, tag string) bool {
	for _, line := range lines {
		for t := range strings.SplitSeq(line, ",") {
			if t = strings.TrimPrefix(strings.Trim(t, " \t"), "W/"); t == tag || t == "*" {
				return true
			}
		}
	}
	return false
}
