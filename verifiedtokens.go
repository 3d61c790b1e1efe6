package doorward

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// verifiedTokens remembers which tokens have been found well signed, since verifying a
// signature again costs some hundred times what looking here does. Whether a token has
// expired, and whether its session lives, is asked each time all the same: of a token
// nothing is kept but a digest of 128 bits over all of its bytes.
//
// The digest is GMAC (NIST SP 800-38D) under a key that is made at random here and under
// one nonce, which is sound because no digest is ever shown: what is left is a universal
// hash, under which a token that was not verified has the digest of one that was with a
// chance below 2^-118 for each of those, whatever its maker knows. SHA-256 took
// two thirds of the whole look.
//
// It takes verifiedRows * verifiedWays * 16 bytes, 8 MiB, for 524,288 tokens, and never
// more; a token that comes when its row is full takes the place of another, which is then
// verified again when it is next shown. Nobody waits: reading takes two atomic loads. A pair read while
// another is written is half of the one and half of the other, and so the digest of no token.
type verifiedTokens struct {
	mac  cipher.AEAD
	rows []verifiedRow
	pool sync.Pool // of *pairScratch
}

type verifiedRow [verifiedWays][2]atomic.Uint64

const (
	verifiedRows = 1 << 16
	verifiedWays = 8
)

// pairScratch is the memory that signing or verifying one token by a key pair takes.
type pairScratch struct {
	text      []byte
	claims    []byte
	signature []byte
	nonce     [12]byte // always zero
	digest    [16]byte
}

func newVerifiedTokens() *verifiedTokens {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails: the program ends where there is no randomness
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	mac, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for a block of another length
	}
	return &verifiedTokens{mac: mac, rows: make([]verifiedRow, verifiedRows)}
}

func (v *verifiedTokens) get() *pairScratch {
	if m, ok := v.pool.Get().(*pairScratch); ok {
		return m
	}
	return new(pairScratch)
}

func (v *verifiedTokens) put(m *pairScratch) { v.pool.Put(m) }

// digest names the token that m holds.
func (v *verifiedTokens) digest(m *pairScratch) [2]uint64 {
	d := v.mac.Seal(m.digest[:0], m.nonce[:], nil, m.text)
	return [2]uint64{binary.LittleEndian.Uint64(d), binary.LittleEndian.Uint64(d[8:])}
}

// row is where a token is that ends as text does. The end of a signature is as good as
// random, and at hand before the digest is: the processor fetches the row in the meantime.
func (v *verifiedTokens) row(text []byte) *verifiedRow {
	end := binary.LittleEndian.Uint64(text[len(text)-12:])
	row := &v.rows[end*0x9e3779b97f4a7c15>>(64-16)]
	row[0][0].Load()
	return row
}

// has reports whether the token named d has been found well signed.
func (r *verifiedRow) has(d [2]uint64) bool {
	for i := range r {
		if r[i][0].Load() == d[0] && r[i][1].Load() == d[1] {
			return true
		}
	}
	return false
}

// add remembers that the token named d is well signed.
func (r *verifiedRow) add(d [2]uint64) {
	way := int(d[1] >> 61)
	for i := range r {
		if r[i][0].Load()|r[i][1].Load() == 0 {
			way = i
			break
		}
	}
	r[way][0].Store(d[0])
	r[way][1].Store(d[1])
}
