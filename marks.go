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

// String is p as a client gives it back; empty for the zero place.
func (p SessionPlace) String() string {
	if p == (SessionPlace{}) {
		return ""
	}
	part := "0"
	if p.Within {
		part = "1"
	}
	return base64.RawURLEncoding.EncodeToString([]byte(part + p.ID + " " + p.Listed))
}

// ParseSessionPlace reads what SessionPlace.String writes.
func ParseSessionPlace(s string) (p SessionPlace, err error) {
	if s == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) > 2048 || len(b) == 0 || b[0] != '0' && b[0] != '1' {
		return SessionPlace{}, errNoMark
	}
	p.Within = b[0] == '1'
	var ok bool
	p.ID, p.Listed, ok = strings.Cut(string(b[1:]), " ")
	if !ok || !SessionSearch(p.Listed) || !SessionSearch(p.ID) || p == (SessionPlace{}) {
		return SessionPlace{}, errNoMark
	}
	return p, nil
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
