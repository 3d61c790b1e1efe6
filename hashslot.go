package doorward

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
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
	key, err := s.h.derive(password, fresh)
	if err != nil {
		return "", Unavailable(err)
	}
	fresh.key = key
	return fresh.encode(), nil
}

// Verify is Hasher.Verify within the turn.
func (s HashSlot) Verify(hash PasswordHash, password string) (bool, error) {
	if hash == "" {
		return false, s.VerifyNobody(password)
	}
	if strings.HasPrefix(string(hash), "$2") {
		return s.verifyBcrypt(string(hash), password)
	}
	kept, err := parsePHC(string(hash))
	if err != nil {
		return false, Unavailable(err)
	}
	if tooLongForPassword(password) {
		return false, s.VerifyNobody(password)
	}
	same, err := s.compare(kept, password)
	if err != nil {
		return false, err
	}
	return same, s.fillUp(kept.cost.work(), password)
}

// fillUp does what is missing of the work that comparing with nobody's takes, after a
// comparison with a hash of lesser cost, which other programs have made: an account whose
// answers came sooner than anybody else's would say that it exists.
func (s HashSlot) fillUp(done uint64, password string) error {
	all := s.h.cost.work()
	if done >= all {
		return nil
	}
	rest := s.h.nobody
	rest.cost.memory = uint32((all - done) / uint64(rest.cost.time))
	if rest.cost.check() != nil {
		return nil
	}
	_, err := s.compare(rest, password)
	return err
}

// verifyBcrypt compares with a hash of another program. Where that takes longer than with ours
// (from cost 9 on), who guesses at such an account can tell by it that it has not signed in here yet.
func (s HashSlot) verifyBcrypt(hash, password string) (bool, error) {
	if err := checkBcrypt(hash); err != nil {
		return false, Unavailable(err)
	}
	if tooLongForPassword(password) {
		return false, s.VerifyNobody(password)
	}
	// Like the programs that made such hashes, it reads the first 72 bytes alone.
	var err error
	unhurried(func() { err = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) })
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, Unavailable(err)
	}
	cost, _ := strconv.Atoi(hash[4:6])
	return err == nil, s.fillUp(bcryptWork<<cost, password)
}

// bcryptWork is what one of bcrypt's rounds costs, in KiB that argon2id passes over: by
// measurement, within some tenths. At the costs that leave much to fill up it is little beside that.
const bcryptWork = 100

// VerifyNobody is Hasher.VerifyNobody within the turn.
func (s HashSlot) VerifyNobody(password string) error {
	if tooLongForPassword(password) {
		// Its length would show in the time: argon2 reads the whole password once.
		password = "a password too long to be one"
	}
	_, err := s.compare(s.h.nobody, password)
	return err
}

func (s HashSlot) compare(kept phc, password string) (bool, error) {
	key, err := s.h.derive(password, kept)
	if err != nil {
		return false, Unavailable(err)
	}
	return subtle.ConstantTimeCompare(key, kept.key) == 1, nil
}
