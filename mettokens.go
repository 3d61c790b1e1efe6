package doorward

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// metSlots is how many tokens are remembered of each use of a key, some 2 MiB when full.
const metSlots = 2048

// metTokens remembers what the tokens say that one key was found to have signed lately, since
// most requests show one that was shown a moment ago. It is part of its key's signer, so
// what it knows goes with the key; whether a token has expired, and whether its session
// lives, is asked each time all the same.
//
// A token is only ever taken for itself: all of it is compared, and that only where a hash of
// the MAC under a random seed says that it is the same, so that how long it takes tells nobody
// how much of a MAC they have guessed. A nil metTokens remembers nothing. It is safe for
// concurrent use.
type metTokens struct {
	seed  maphash.Seed
	slots [metSlots]metSlot
}

type metSlot struct {
	last atomic.Uint64 // the hash of the token that was verified here last
	kept atomic.Pointer[metToken]
}

type metToken struct {
	hash   uint64 // of its MAC
	text   string // all of it
	claims Claims
}

func newMetTokens() *metTokens { return &metTokens{seed: maphash.MakeSeed()} }

// get returns the claims of a token that was found to be well signed, nil if it is not
// remembered, and the hash that add wants to have. The claims are not to be changed.
func (m *metTokens) get(token string) (*Claims, uint64) {
	if m == nil {
		return nil, 0
	}
	hash := maphash.String(m.seed, token[len(token)-macLen:])
	if k := m.slots[hash%metSlots].kept.Load(); k != nil && k.hash == hash && k.text == token {
		return &k.claims, hash
	}
	return nil, hash
}

// add is told of a token that was found to be well signed. It is remembered from the second
// time in a row on: where there are more tokens than room, none of them drives out another.
func (m *metTokens) add(token string, hash uint64, c *Claims) {
	if m == nil {
		return
	}
	s := &m.slots[hash%metSlots]
	if s.last.Swap(hash) == hash {
		s.kept.Store(&metToken{hash, strings.Clone(token), *c}) // a clone: what a request brought is longer
	}
}
