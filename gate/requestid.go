package gate

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
)

// requestIDs makes the ids by which an answer and its log lines find each other. They are
// ours alone: one that a client sends is never used, so no client can write into the log.
//
// Ids are made many at a time and share the memory of one string, since a request should
// cost few allocations. Which comes next can be told by nobody outside. The zero value is
// ready; safe for concurrent use.
type requestIDs struct{ made sync.Pool } // of *requestIDBlock

// requestIDBlock is the ids that are made and not yet given out.
type requestIDBlock struct{ text string }

const (
	requestIDLen    = 20 // characters: 80 random bits
	requestIDsAtime = 64
)

func (ids *requestIDs) next() string {
	b, ok := ids.made.Get().(*requestIDBlock)
	if !ok || b.text == "" {
		var random [requestIDLen / 2 * requestIDsAtime]byte
		_, _ = rand.Read(random[:]) // never fails (crypto/rand)
		b = &requestIDBlock{hex.EncodeToString(random[:])}
	}
	id := b.text[:requestIDLen]
	b.text = b.text[requestIDLen:]
	ids.made.Put(b)
	return id
}
