package doorward

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Where the page of a list begins goes to clients as a text, and comes back from them as they
// please: what Parse reads of it picks a place in a list and nothing else.

var errNoMark = Invalid("after", "is not where a page begins")

// String is m as a client gives it back; empty for the zero mark.
func (m AuditMark) String() string {
	if m.Time.IsZero() {
		return ""
	}
	return strconv.FormatInt(m.Time.UnixMilli(), 10) + "-" + strconv.FormatInt(m.ID, 10)
}

// ParseAuditMark reads what AuditMark.String writes.
func ParseAuditMark(s string) (AuditMark, error) {
	if s == "" {
		return AuditMark{}, nil
	}
	at, id, _ := strings.Cut(s, "-")
	ms, err := strconv.ParseInt(at, 10, 64)
	n, err2 := strconv.ParseInt(id, 10, 64)
	if err != nil || err2 != nil || ms < 1 || n < 0 {
		return AuditMark{}, errNoMark
	}
	return AuditMark{Time: time.UnixMilli(ms), ID: n}, nil
}

// String is m as a client gives it back; empty for the zero mark.
func (m SessionMark) String() string {
	if m.Ends.IsZero() {
		return ""
	}
	return strconv.FormatInt(m.Ends.UnixMilli(), 10) + "." + m.ID
}

// ParseSessionMark reads what SessionMark.String writes.
func ParseSessionMark(s string) (SessionMark, error) {
	if s == "" {
		return SessionMark{}, nil
	}
	at, id, found := strings.Cut(s, ".")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !found || ms < 1 {
		return SessionMark{}, errNoMark
	}
	return SessionMark{Ends: time.UnixMilli(ms), ID: id}, nil
}

// sealPlace is p as a client of org gives it back; empty for the zero place. Nobody but a node reads
// it: a page that was short may end at a session that whoever asked may know nothing of.
func (a *Authority) sealPlace(p SessionPlace, org string) string {
	if p == (SessionPlace{}) {
		return ""
	}
	part := "0"
	if p.Within {
		part = "1"
	}
	seal := a.keys.Load().keys[0].places
	nonce := make([]byte, seal.NonceSize())
	a.random(nonce)
	return base64.RawURLEncoding.EncodeToString(seal.Seal(nonce, nonce, []byte(part+p.ID+" "+p.Listed), []byte(org)))
}

// openPlace reads what sealPlace writes, on any node that has the secret.
func (a *Authority) openPlace(s, org string) (SessionPlace, error) {
	if s == "" {
		return SessionPlace{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > 4096 {
		return SessionPlace{}, errNoMark
	}
	for _, key := range a.keys.Load().keys {
		n := key.places.NonceSize()
		if len(b) <= n {
			break
		}
		plain, err := key.places.Open(nil, b[:n], b[n:], []byte(org))
		if err != nil {
			continue
		}
		id, listed, _ := strings.Cut(string(plain[1:]), " ")
		return SessionPlace{Within: plain[0] == '1', ID: id, Listed: listed}, nil
	}
	return SessionPlace{}, errNoMark
}

// String is p as a client gives it back; empty for the zero place.
func (p KeyPlace) String() string {
	if p == (KeyPlace{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(p.ID + " " + p.Name))
}

// ParseKeyPlace reads what KeyPlace.String writes.
func ParseKeyPlace(s string) (p KeyPlace, err error) {
	if s == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > 1024 {
		return KeyPlace{}, errNoMark
	}
	var ok bool
	p.ID, p.Name, ok = strings.Cut(string(b), " ")
	if !ok || !strings.HasPrefix(p.ID, keyPrefix) || CheckKeyName("after", p.Name) != nil || CheckKeyName("after", p.ID) != nil {
		return KeyPlace{}, errNoMark
	}
	return p, nil
}
