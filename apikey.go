package doorward

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

const (
	apiKeyRandomBytes = 32 // 256 bits, written as 64 hex digits
	apiKeySumDigits   = 8  // CRC-32, big-endian
	apiKeyDigits      = 2*apiKeyRandomBytes + apiKeySumDigits
	maxKeyPrefix      = 32
)

// NewAPIKey makes an API key: prefix, 64 lower-case hex digits read from random, and 8
// of checksum, the CRC-32 (IEEE 802.3) of all that stands before it. The checksum is for
// scanners that look for leaked keys and for better messages; it adds no strength.
//
// It fails when CheckKeyPrefix refuses the prefix or when random cannot be read in
// full; there is never a key with fewer random bits.
func NewAPIKey(prefix string, random io.Reader) (string, error) {
	if err := CheckKeyPrefix("prefix", prefix); err != nil {
		return "", err
	}
	var secret [apiKeyRandomBytes]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return "", fmt.Errorf("cannot read random bytes for an API key: %w", err)
	}
	body := prefix + hex.EncodeToString(secret[:])
	return body + apiKeySum(body), nil
}

// CheckAPIKeySum reports whether key has the form that NewAPIKey gives, whatever its
// prefix, and whether its checksum is right. Neither is ever needed to be let in: a key is
// looked up by its hash. A key of the right form with a wrong sum was mistyped or cut.
func CheckAPIKeySum(key string) (wellFormed, sumOK bool) {
	if len(key) < apiKeyDigits {
		return false, false
	}
	prefix, digits := key[:len(key)-apiKeyDigits], key[len(key)-apiKeyDigits:]
	if CheckKeyPrefix("prefix", prefix) != nil || strings.Trim(digits, "0123456789abcdef") != "" {
		return false, false
	}
	body, sum := key[:len(key)-apiKeySumDigits], key[len(key)-apiKeySumDigits:]
	return true, sum == apiKeySum(body)
}

// CheckKeyPrefix refuses what cannot begin an API key: it must have 1 to 32 of ASCII
// letters, digits, - and _. A dot would let a key look like a JWT.
func CheckKeyPrefix(field, prefix string) error {
	if len(prefix) == 0 || len(prefix) > maxKeyPrefix {
		return Invalid(field, "must have 1 to %d characters", maxKeyPrefix)
	}
	for i := 0; i < len(prefix); i++ {
		if c := prefix[i]; !alphanumeric(c) && c != '-' && c != '_' {
			return Invalid(field, "may hold letters, digits, - and _ only")
		}
	}
	return nil
}

func apiKeySum(body string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}
