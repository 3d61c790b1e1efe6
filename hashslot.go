package doorward

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net/netip"
)

// HashSlot is a turn at hashing: who holds one may hash and compare, one after the other,
// without waiting again. It is for one goroutine, and must be released.
type HashSlot struct{ h *Hasher }

// Slot waits for a turn as Hash and Verify do: in a line of those whose address says nothing.
func (h *Hasher) Slot(ctx context.Context) (HashSlot, error) {
	return h.SlotFor(ctx, netip.Addr{})
}

// SlotFor waits for a turn in the line of the address that the request comes from. It exists
// for what must happen between getting a turn and comparing: counting the attempt.
func (h *Hasher) SlotFor(ctx context.Context, from netip.Addr) (HashSlot, error) {
	if err := h.slots.acquire(ctx, from); err != nil {
		return HashSlot{}, err
	}
	return HashSlot{h}, nil
}

// Release gives the turn to who is next.
func (s HashSlot) Release() { s.h.slots.release() }

// Hash is Hasher.Hash within the turn.
func (s HashSlot) Hash(password string) (PasswordHash, error) {
	if tooLongForPassword(password) {
		return "", Invalid("password", "must have at most %d characters", MaxPassword)
	}
	fresh := phc{cost: s.h.cost, salt: make([]byte, saltLength), key: make([]byte, keyLength)}
	if _, err := io.ReadFull(s.h.random, fresh.salt); err != nil {
		return "", Unavailable(fmt.Errorf("cannot read randomness for a salt: %w", err))
	}
	fresh.key = s.h.derive(password, fresh)
	return fresh.encode(), nil
}

// Verify is Hasher.Verify within the turn.
func (s HashSlot) Verify(hash PasswordHash, password string) (bool, error) {
	if hash == "" {
		s.VerifyNobody(password)
		return false, nil
	}
	kept, err := parsePHC(string(hash))
	if err != nil {
		return false, Unavailable(err)
	}
	if tooLongForPassword(password) {
		s.VerifyNobody(password)
		return false, nil
	}
	return s.compare(kept, password), nil
}

// VerifyNobody is Hasher.VerifyNobody within the turn.
func (s HashSlot) VerifyNobody(password string) {
	if tooLongForPassword(password) {
		// Its length would show in the time: argon2 reads the whole password once.
		password = "a password too long to be one"
	}
	s.compare(s.h.nobody, password)
}

func (s HashSlot) compare(kept phc, password string) bool {
	return subtle.ConstantTimeCompare(s.h.derive(password, kept), kept.key) == 1
}
