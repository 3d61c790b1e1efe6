package doorward

import "strconv"

// Printable is s, quoted if it holds what would not show as it is: what a client calls itself,
// or asks for, is the client's to say, and whoever reads it must see what it is.
func Printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}
