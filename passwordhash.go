package doorward

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// PasswordHash is an argon2id hash of a password in PHC form,
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<key>
//
// with m in KiB and salt and key in unpadded base64; or, of an account that came from
// another program and has not signed in since, a bcrypt hash in its crypt form,
//
//	$2y$10$<salt and key>
//
// ($2a$ and $2b$ alike). Hash makes the first alone, and NeedsRehash asks for it. It prints, logs and marshals as
// ***; only Encoded gives the text, and only the store has use for it. (fmt calls no
// method on the unexported field of a struct, so do not print a struct that holds one.)
// The empty PasswordHash belongs to a user who has no password.
type PasswordHash string

// Encoded returns the text to keep.
func (h PasswordHash) Encoded() string { return string(h) }

// String returns ***.
func (PasswordHash) String() string { return redacted }

// GoString returns ***, for %#v.
func (PasswordHash) GoString() string { return redacted }

// Format prints *** for every verb, %x included.
func (PasswordHash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns ***, so that no encoder can leak it.
func (PasswordHash) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const redacted = "***"

// ParsePasswordHash accepts exactly what Encoded returns, of any cost within the bounds
// that NewHasher has as well, and bcrypt up to cost 14: a hash from a database or a file must not be able to ask
// for all the memory, or time, there is. Its error never holds the text.
func ParsePasswordHash(s string) (PasswordHash, error) {
	if strings.HasPrefix(s, "$2") {
		if err := checkBcrypt(s); err != nil {
			return "", err
		}
		return PasswordHash(s), nil
	}
	if _, err := parsePHC(s); err != nil {
		return "", err
	}
	return PasswordHash(s), nil
}

// Bounds on what one hashing may cost, whoever asks. RFC 9106 section 3.1 allows far
// more; its second recommended option, 64 MiB, 3 passes and 4 lanes, lies well within.
const (
	maxArgonMemory      = 256 * 1024 // KiB
	maxArgonTime        = 16
	maxArgonParallelism = 16
)

// Lengths in bytes: those of our own hashes (RFC 9106 section 4) and those we read.
const (
	saltLength    = 16
	keyLength     = 32
	minSaltLength = 8 // RFC 9106 section 3.1
	maxSaltLength = 64
	minKeyLength  = 16
	maxKeyLength  = 64
	maxPHCLength  = 256 // above the longest that these bounds allow
)

// argonCost is what makes a guess expensive.
type argonCost struct {
	memory      uint32 // KiB
	time        uint32 // passes over the memory
	parallelism uint8  // lanes
}

// work is what hashing takes, in KiB passed over: time goes with it.
func (c argonCost) work() uint64 { return uint64(c.memory) * uint64(c.time) }

func (c argonCost) check() error {
	switch {
	case c.parallelism < 1 || c.parallelism > maxArgonParallelism:
		return fmt.Errorf("parallelism must be 1 to %d", maxArgonParallelism)
	case c.memory < 8*uint32(c.parallelism) || c.memory > maxArgonMemory:
		return fmt.Errorf("memory must be 8 KiB for each lane to %d KiB", maxArgonMemory)
	case c.time < 1 || c.time > maxArgonTime:
		return fmt.Errorf("time must be 1 to %d passes", maxArgonTime)
	}
	return nil
}

// phc is a PasswordHash taken apart.
type phc struct {
	cost      argonCost
	salt, key []byte
}

func (p phc) encode() PasswordHash {
	b64 := base64.RawStdEncoding
	return PasswordHash(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		p.cost.memory, p.cost.time, p.cost.parallelism, b64.EncodeToString(p.salt), b64.EncodeToString(p.key)))
}

var errMalformedHash = errors.New("malformed password hash")

// parsePHC reads generously and then demands that what it read is written the same way,
// which leaves leading zeros, line breaks in the base64 and loose last bits no way in.
func parsePHC(s string) (phc, error) {
	if len(s) > maxPHCLength {
		return phc{}, errMalformedHash
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return phc{}, errMalformedHash
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return phc{}, errMalformedHash
	}
	m, errM := strconv.ParseUint(strings.TrimPrefix(costs[0], "m="), 10, 32)
	t, errT := strconv.ParseUint(strings.TrimPrefix(costs[1], "t="), 10, 32)
	p, errP := strconv.ParseUint(strings.TrimPrefix(costs[2], "p="), 10, 8)
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.DecodeString(parts[5])
	if errM != nil || errT != nil || errP != nil || errSalt != nil || errKey != nil {
		return phc{}, errMalformedHash
	}
	h := phc{cost: argonCost{memory: uint32(m), time: uint32(t), parallelism: uint8(p)}, salt: salt, key: key}
	if string(h.encode()) != s {
		return phc{}, errMalformedHash
	}
	if err := h.cost.check(); err != nil {
		return phc{}, fmt.Errorf("password hash: %w", err)
	}
	if len(salt) < minSaltLength || len(salt) > maxSaltLength || len(key) < minKeyLength || len(key) > maxKeyLength {
		return phc{}, errMalformedHash
	}
	return h, nil
}

// Bounds on bcrypt: below 4 there is none, above 14 one comparison takes seconds.
const (
	minBcryptCost = 4
	maxBcryptCost = 14
)

// checkBcrypt accepts $2a$, $2b$ or $2y$, two digits of cost, $, and 53 of bcrypt's own
// base64: 22 of salt, 31 of key.
func checkBcrypt(s string) error {
	if len(s) != 60 || s[:2] != "$2" || strings.IndexByte("aby", s[2]) < 0 || s[3] != '$' || s[6] != '$' {
		return errMalformedHash
	}
	for _, c := range []byte(s[7:]) {
		if !alphanumeric(c) && c != '.' && c != '/' {
			return errMalformedHash
		}
	}
	cost, err := strconv.ParseUint(s[4:6], 10, 8)
	if err != nil {
		return errMalformedHash
	}
	if cost < minBcryptCost || cost > maxBcryptCost {
		return fmt.Errorf("password hash: the cost of bcrypt must be %d to %d", minBcryptCost, maxBcryptCost)
	}
	return nil
}

// HasherConfig says what a hash costs and how many are computed at once. The zero value
// is the second of OWASP's recommended argon2id settings, on every core but one.
type HasherConfig struct {
	Memory      uint32    // KiB for each hash; zero means 19*1024
	Time        uint32    // passes; zero means 2
	Parallelism uint8     // lanes; zero means 1
	Slots       int       // hashes computed at once; zero means one fewer than GOMAXPROCS, but one at least
	Queue       int       // callers that may wait for a slot; zero means 256
	Rand        io.Reader // where salts come from, safe for concurrent use; nil means crypto/rand
	// Key computes keys for a program that has a better place for it than this process, whose
	// collector has to follow each of them with a round through all that the process keeps; nil
	// means Argon2.Key. It is called from as many goroutines as there are Slots. Its error is ErrUnavailable to
	// who asked, and says nothing about the password.
	Key func(Argon2) ([]byte, error)
}

// Hasher hashes and compares passwords, a bounded number at a time: memory is at most
// Slots times Memory, plus the garbage of those before, however many callers come. The
// others wait in a bounded queue that is fair by address; past it they are refused at
// once with ErrTooManyRequests. A caller whose context ends leaves the queue without
// taking a slot, and gets ErrUnavailable with the context's cause. A hashing that has
// begun is carried to its end. A Hasher is safe for concurrent use.
type Hasher struct {
	cost   argonCost
	random io.Reader
	slots  *slots
	nobody phc                                          // compared with when there is no user
	derive func(password string, p phc) ([]byte, error) // what the key of p would be were p the hash of password
}

// NewHasher refuses costs out of bounds and negative sizes.
func NewHasher(c HasherConfig) (*Hasher, error) {
	cost := argonCost{memory: c.Memory, time: c.Time, parallelism: c.Parallelism}
	if cost.memory == 0 {
		cost.memory = 19 * 1024
	}
	if cost.time == 0 {
		cost.time = 2
	}
	if cost.parallelism == 0 {
		cost.parallelism = 1
	}
	if err := cost.check(); err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	if c.Slots < 0 || c.Queue < 0 {
		return nil, errors.New("password hashing: slots and queue must not be negative")
	}
	if c.Slots == 0 {
		// One core stays for who asks with a good token. With a hash on each, every such
		// request waits for the scheduler to interrupt one, 10 ms and more: on two cores half of them
		// waited six to a hundred times as long as on an idle server, and with one core free no
		// longer than ever, while as many passwords were compared in the end.
		c.Slots = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if c.Queue == 0 {
		c.Queue = 256
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Key == nil {
		c.Key = func(a Argon2) ([]byte, error) { return a.Key(), nil }
	}
	return &Hasher{
		cost:   cost,
		random: c.Rand,
		slots:  newSlots(c.Slots, c.Queue),
		nobody: phc{cost: cost, salt: make([]byte, saltLength), key: make([]byte, keyLength)},
		derive: func(password string, p phc) ([]byte, error) {
			key, err := c.Key(p.computation(password))
			if err == nil && len(key) != len(p.key) {
				err = fmt.Errorf("password hashing: a key of %d bytes where %d were asked for", len(key), len(p.key))
			}
			return key, err
		},
	}, nil
}

// computation is that of the key that p would have were it the hash of password.
func (p phc) computation(password string) Argon2 {
	return Argon2{
		Password: []byte(password), Salt: p.salt, Memory: p.cost.memory, Time: p.cost.time, Lanes: p.cost.parallelism, Length: uint32(len(p.key)),
	}
}

// Hash returns a hash of password under a fresh salt. It judges no policy, but refuses
// what Verify would never match: more than MaxPassword characters.
func (h *Hasher) Hash(ctx context.Context, password string) (PasswordHash, error) {
	return h.HashFor(ctx, netip.Addr{}, password)
}

// HashFor is Hash for a caller at the address from, by which the turns of those who wait are fair.
func (h *Hasher) HashFor(ctx context.Context, from netip.Addr, password string) (PasswordHash, error) {
	slot, err := h.SlotFor(ctx, from)
	if err != nil {
		return "", err
	}
	defer slot.Release()
	return slot.Hash(password)
}

// Verify reports whether hash is a hash of password, comparing in constant time. A user
// without a password (the empty hash) and a password longer than any that can be chosen
// never match, after the same work as VerifyNobody does. A malformed hash is an error,
// never a wrong password.
func (h *Hasher) Verify(ctx context.Context, hash PasswordHash, password string) (bool, error) {
	slot, err := h.Slot(ctx)
	if err != nil {
		return false, err
	}
	defer slot.Release()
	return slot.Verify(hash, password)
}

// VerifyNobody does the work of a Verify that fails, for a username that does not exist
// (or may not sign in), so that the time does not tell. An error says that the work
// could not be done, as Verify's would.
func (h *Hasher) VerifyNobody(ctx context.Context, password string) error {
	slot, err := h.Slot(ctx)
	if err != nil {
		return err
	}
	defer slot.Release()
	return slot.VerifyNobody(password)
}

// NeedsRehash reports whether Hash would now make a hash of another cost. Ask after a
// successful Verify, while the password is at hand: until such a hash is replaced, its
// owner's sign-in takes another time than nobody's.
func (h *Hasher) NeedsRehash(hash PasswordHash) bool {
	kept, err := parsePHC(string(hash))
	return err != nil || kept.cost != h.cost || len(kept.salt) < saltLength || len(kept.key) != keyLength
}
