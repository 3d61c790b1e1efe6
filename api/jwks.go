package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"doorward"
	"doorward/gate"
)

// jwksKept is for how many seconds the keys may be kept by who fetches them. After a rotation
// they meet a kid that they do not know, and fetch anew.
const jwksKept = 300

// jwks answers with the public keys by which others verify access tokens and assertions
// (RFC 7517, section 5). There is nothing else in it: keys that could sign are of other types.
func (a *api) jwks(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	body, err := json.Marshal(struct {
		Keys []doorward.PublicKey `json:"keys"`
	}{a.Authority.PublicKeys()})
	if err != nil {
		return doorward.Unavailable(err)
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", jwksKept))
	h.Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	gate.WriteRaw(w, http.StatusOK, string(body)+"\n")
	return nil
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
