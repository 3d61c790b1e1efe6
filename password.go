package doorward

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// DefaultMinPassword is the shortest password, in characters, that a PasswordPolicy
// which says nothing else accepts.
const DefaultMinPassword = 8

// MaxPassword is the longest password, in characters. NIST SP 800-63B-4 asks for at
// least 64; the bound keeps a request from buying work with its length.
const MaxPassword = 256

// PasswordPolicy says which passwords may be chosen. It never judges one at sign-in: a
// rule made stricter must not lock out people whose password was good when they chose
// it. The zero value asks for DefaultMinPassword characters.
type PasswordPolicy struct {
	MinLength int // characters; zero means DefaultMinPassword
}

// Check refuses a password that may not be chosen, naming the field and the reason: one
// of fewer than MinLength or more than MaxPassword characters (Unicode code points), one
// that is not UTF-8, the username in any case, and one of the embedded list of common
// passwords, compared whole and in lower case. Any character counts, a space as well,
// and no kind of character is asked for (NIST SP 800-63B-4, 3.1.1.2). What is typed is
// what is kept: no trimming and no normalization, so é typed as one code point and as
// two are different passwords. The error is an *Error with CodeInvalid and never holds
// the password.
func (p PasswordPolicy) Check(field, username, password string) error {
	// Before anything that reads all of it, so that megabytes are refused for nothing.
	if tooLongForPassword(password) {
		return Invalid(field, "must have at most %d characters", MaxPassword)
	}
	if !utf8.ValidString(password) {
		return Invalid(field, "must be valid UTF-8")
	}
	shortest := p.MinLength
	if shortest <= 0 {
		shortest = DefaultMinPassword
	}
	if utf8.RuneCountInString(password) < shortest {
		return Invalid(field, "must have at least %d characters", shortest)
	}
	if strings.EqualFold(password, username) {
		return Invalid(field, "must not be the username")
	}
	if commonPassword(password) {
		return Invalid(field, "is one of the most common passwords; choose another")
	}
	return nil
}

// tooLongForPassword reports whether s has more than MaxPassword characters, reading at
// most the bytes that so many can take.
func tooLongForPassword(s string) bool {
	return len(s) > MaxPassword*utf8.UTFMax || utf8.RuneCountInString(s) > MaxPassword
}

// commonPasswordList is some ten thousand passwords that guessers try first, one a line,
// in lower case, sorted by their bytes, each once. It was written for Doorward: the
// famous ones, keyboard walks, repeats and number patterns from memory, and words,
// names, teams, brands and product defaults with the endings that people give them,
// multiplied out by a small program. Lines of nothing but spaces are passwords too.
//
//go:embed common_passwords.txt
var commonPasswordList string

// commonPasswords is the list cut into lines that share its memory, made at first use:
// a server that never sets a password does not pay for it.
var commonPasswords = sync.OnceValue(func() []string {
	return strings.Split(strings.TrimSuffix(commonPasswordList, "\n"), "\n")
})

func commonPassword(password string) bool {
	_, found := slices.BinarySearch(commonPasswords(), strings.ToLower(password))
	return found
}
