package doorward

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is searched for, and where a page begins, comes from outside as text. These read it; where no
// name could hold what is searched for, possible is false and the list is empty.

// UserSearch is a part of a username in the form in which they are compared.
func UserSearch(s string) (canonical string, possible bool) {
	if s == "" {
		return "", true
	}
	return CanonicalUsername(s)
}

// ParseUserPlace reads where a page of users begins: a name, or one behind a mark that says
// which part of a search is meant.
func ParseUserPlace(s string) (string, error) {
	name := strings.TrimPrefix(s, "~")
	if canonical, ok := UserSearch(name); !ok || canonical != strings.ToLower(name) {
		return "", Invalid("after", "is not where a page begins")
	}
	return strings.ToLower(s), nil
}

// ParsePlaceMark reads where a page of organizations or workspaces begins: an id.
func ParsePlaceMark(s string) (string, error) {
	if s != "" && CheckSlug("after", s) != nil {
		return "", Invalid("after", "is not where a page begins")
	}
	return s, nil
}

// PlaceSearch says whether s can be a part of an id or a name of a place.
func PlaceSearch(s string) (possible bool) {
	possible = utf8.ValidString(s) && len(s) <= 4*128
	for _, r := range s {
		possible = possible && unicode.IsPrint(r)
	}
	return possible
}

// KeySearch says whether s can be the beginning of a key's name, or of a key.
func KeySearch(s string) (possible bool) {
	return s == "" || CheckKeyName("search", strings.TrimSpace(s)) == nil
}

// SessionSearch says whether s can be a part of what sessions are listed by: names and ids, with
// spaces between them.
func SessionSearch(s string) (possible bool) {
	possible = utf8.ValidString(s) && len(s) <= 1024
	for _, r := range s {
		possible = possible && unicode.IsPrint(r)
	}
	return possible
}
