//go:build unix

package store

import (
	"testing"

	"doorward/pgtest"
)

// On a server of their own, that waits for its disk.
func BenchmarkPostgresAdvanceRefresh64(b *testing.B) {
	s, c := openURL(b, pgtest.Start(b, pgtest.Config{}).URL(), postgresDefaults)
	beside(b, s, advancing(b, s, c))
}

func BenchmarkPostgresAdvanceRefresh1(b *testing.B) {
	s, c := openURL(b, pgtest.Start(b, pgtest.Config{}).URL(), postgresDefaults)
	one(b, advancing(b, s, c))
}
