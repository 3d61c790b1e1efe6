package doorward

import "golang.org/x/crypto/argon2"

// Argon2 is the computation of one argon2id key (RFC 9106): what hashing a password, and
// comparing one with a hash, costs. It holds the password.
type Argon2 struct {
	Password []byte
	Salt     []byte
	Memory   uint32 // KiB
	Time     uint32 // passes over the memory
	Lanes    uint8
	Length   uint32 // of the key, in bytes
}

// Key computes the key in this process, by a thread that steps back for all others. Its memory
// is garbage afterwards. Safe for concurrent use.
func (a Argon2) Key() (key []byte) {
	unhurried(func() { key = argon2.IDKey(a.Password, a.Salt, a.Time, a.Memory, a.Lanes, a.Length) })
	return key
}
