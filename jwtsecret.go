package doorward

import (
	"fmt"
	"strings"
)

// minSecretLen is the length of an HS256 key in bytes below which RFC 7518, section 3.2, forbids its use.
const minSecretLen = 32

// howToMakeSecret ends every refusal of a secret.
const howToMakeSecret = "make one with: openssl rand -base64 32"

// placeholders are what documentation, templates and tutorials print where a secret
// belongs, in lower case and without punctuation. Whoever has read the same page could
// sign tokens. A secret that contains one is refused; a random one never does.
var placeholders = [...]string{
	"changeme",
	"changethis",
	"replaceme",
	"replacethis",
	"replacewith",
	"placeholder",
	"insertyour",
	"yoursecret",
	"yourjwtsecret",
	"yourjwtkey",
	"yoursigningkey",
	"yoursupersecret",
	"yourverysecret",
	"yourlongsecret",
	"yourrandomsecret",
	"your256bit",
	"your512bit",
	"your32byte",
	"your32char",
	"your64char",
	"astringsecretatleast256bitslong", // the example key of jwt.io
	"supersecretjwttokenwithatleast32characterslong", // the sample configuration of a well-known platform
}

// CheckSecret says why s may not sign tokens, or nil: it needs 32 bytes, and must be
// neither a known placeholder nor one byte over and over. The error begins with name, the
// setting that s came from, tells how to make a good one, and never shows s.
func CheckSecret(name string, s []byte) error {
	if len(s) < minSecretLen {
		return fmt.Errorf("%s: has %d bytes, must have at least %d; %s", name, len(s), minSecretLen, howToMakeSecret)
	}
	if oneByte(s) {
		return fmt.Errorf("%s: is one byte repeated; %s", name, howToMakeSecret)
	}
	words := lettersAndDigits(s)
	for _, p := range placeholders {
		if strings.Contains(words, p) {
			return fmt.Errorf("%s: is a placeholder from documentation; %s", name, howToMakeSecret)
		}
	}
	return nil
}

func oneByte(s []byte) bool {
	for _, b := range s {
		if b != s[0] {
			return false
		}
	}
	return true
}

// lettersAndDigits returns the ASCII letters of s in lower case and its digits.
func lettersAndDigits(s []byte) string {
	var out strings.Builder
	for _, b := range s {
		switch {
		case 'A' <= b && b <= 'Z':
			out.WriteByte(b + 'a' - 'A')
		case 'a' <= b && b <= 'z', '0' <= b && b <= '9':
			out.WriteByte(b)
		}
	}
	return out.String()
}
