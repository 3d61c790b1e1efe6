package doorward

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"
)

// cheap is the smallest argon2id there is, for tests of what is around it.
func cheap(t testing.TB, c HasherConfig) *Hasher {
	t.Helper()
	c.Memory, c.Time, c.Parallelism = 8, 1, 1
	h, err := NewHasher(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Hashes by the reference implementation in C, libargon2 20171227.
var referenceHashes = []struct{ password, hash string }{
	{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
	{"your-password", "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AT6jw0r1ot+yMKkcGiW2JrwDnB3uCCNPK9M80RGVe+w"},
	{"pâss wörd ☃", "$argon2id$v=19$m=32,t=3,p=4$c29tZXNhbHQ$bs7xSHml7RT/CAC6T+4xtlBM31WEKeiY"},
	{"", "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$hbJ1ohlLKVU4J4P1p07fhg"},
}

func TestVerifyHashesOfTheReferenceImplementation(t *testing.T) {
	t.Parallel()
	h := cheap(t, HasherConfig{})
	for _, ref := range referenceHashes {
		hash, err := ParsePasswordHash(ref.hash)
		if err != nil {
			t.Errorf("%s: %v", ref.hash, err)
			continue
		}
		if ok, err := h.Verify(t.Context(), hash, ref.password); !ok || err != nil {
			t.Errorf("%s is not found to be of %q: %v", ref.hash, ref.password, err)
		}
		if ok, err := h.Verify(t.Context(), hash, ref.password+"!"); ok || err != nil {
			t.Errorf("%s is found to be of another password: %v", ref.hash, err)
		}
	}
}

func TestHashIsTheReferenceImplementations(t *testing.T) {
	t.Parallel()
	h, err := NewHasher(HasherConfig{Rand: strings.NewReader("0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	ref := referenceHashes[1]
	got, err := h.Hash(t.Context(), ref.password)
	if err != nil || got.Encoded() != ref.hash {
		t.Fatalf("got %s, %v", got.Encoded(), err)
	}
	if h.NeedsRehash(got) {
		t.Error("a fresh hash needs no other")
	}
}

func TestHashThenVerify(t *testing.T) {
	t.Parallel()
	h := cheap(t, HasherConfig{})
	passwords := []string{"k7#vQ9!x", " ", "\x00", "e\u0301", "é", strings.Repeat("🚪", MaxPassword)}
	for _, password := range passwords {
		hash, err := h.Hash(t.Context(), password)
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.Hash(t.Context(), password)
		if err != nil || again == hash {
			t.Errorf("%q has the same hash twice: no salt (%v)", password, err)
		}
		for _, tried := range passwords {
			ok, err := h.Verify(t.Context(), hash, tried)
			if err != nil || ok != (tried == password) {
				t.Errorf("hash of %q, tried %q: %v, %v", password, tried, ok, err)
			}
		}
		if ok, err := h.Verify(t.Context(), hash, hash.Encoded()); ok || err != nil {
			t.Errorf("the hash itself opens the door: %v", err)
		}
	}
}

func TestVerifyRefusesWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	h := cheap(t, HasherConfig{})
	hash, err := h.Hash(t.Context(), "k7#vQ9!x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range hash {
		changed := []byte(hash)
		changed[i] ^= 1
		if ok, _ := h.Verify(t.Context(), PasswordHash(changed), "k7#vQ9!x"); ok {
			t.Errorf("%s is taken for %s", changed, hash.Encoded())
		}
	}
}

func TestHashRefusesWhatVerifyNeverMatches(t *testing.T) {
	t.Parallel()
	_, err := cheap(t, HasherConfig{}).Hash(t.Context(), strings.Repeat("k", MaxPassword+1))
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeInvalid {
		t.Fatalf("got %v", err)
	}
}

func TestHashWithoutRandomnessIsNoHash(t *testing.T) {
	t.Parallel()
	broken := errors.New("no entropy")
	for name, r := range map[string]io.Reader{"failing": iotest.ErrReader(broken), "short": strings.NewReader("0123456789abcde")} {
		h := cheap(t, HasherConfig{Rand: r, Slots: 1})
		hash, err := h.Hash(t.Context(), "k7#vQ9!x")
		if hash != "" || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %s, %v", name, hash.Encoded(), err)
		}
		if err := h.VerifyNobody(t.Context(), "k7#vQ9!x"); err != nil || h.slots.free != 1 {
			t.Errorf("%s: the slot is lost: %v", name, err)
		}
	}
}

func TestPasswordHashNeverShows(t *testing.T) {
	t.Parallel()
	hash := PasswordHash(referenceHashes[0].hash)
	row := struct{ Hash PasswordHash }{hash}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", hash, row, &row)
	}
	fmt.Fprintln(&out, hash, hash.String(), hash.GoString(), fmt.Errorf("wrapped: %v", hash))
	for _, encode := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		text, err := encode(hash)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("m", "hash", hash, "row", row)
	}
	shown := out.String()
	for _, part := range strings.FieldsFunc(hash.Encoded(), func(r rune) bool { return r == '$' }) {
		if part != "v=19" && (strings.Contains(shown, part) || strings.Contains(shown, fmt.Sprintf("%x", part))) {
			t.Errorf("%s shows in:\n%s", part, shown)
		}
	}
	if strings.Count(shown, "***") < 9*3 {
		t.Errorf("not everything is ***:\n%s", shown)
	}
}

// TestHashesOfOtherPrograms are compared, and are to be replaced.
func TestHashesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	h, err := NewHasher(HasherConfig{Memory: 64, Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	seventyTwo := strings.Repeat("x", 72)
	long, err := bcrypt.GenerateFromPassword([]byte(seventyTwo), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hash, password string
		want           bool
	}{
		{"$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "abc123xyz", true},
		{"$2y$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "abc123xyz", true},
		{"$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "abc123xy", false},
		{"$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "", false},
		{string(long), seventyTwo, true},
		{string(long), seventyTwo + "what is not read", true}, // nor was it where the hash was made
		{string(long), strings.Repeat("x", 300), false},       // but nobody has chosen that
	} {
		hash, err := ParsePasswordHash(c.hash)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.Verify(t.Context(), hash, c.password); got != c.want || err != nil {
			t.Errorf("%.7s and %.12q: %v, %v, want %v", c.hash, c.password, got, err, c.want)
		}
		if !h.NeedsRehash(hash) {
			t.Errorf("%.7s may stay", c.hash)
		}
		if fmt.Sprint(hash) != "***" || hash.Encoded() != c.hash {
			t.Errorf("%v, %s", hash, hash.Encoded())
		}
	}
}

func TestParsePasswordHash(t *testing.T) {
	t.Parallel()
	const good = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AT6jw0r1ot+yMKkcGiW2JrwDnB3uCCNPK9M80RGVe+w"
	swap := func(old, new string) string {
		changed := strings.Replace(good, old, new, 1)
		if changed == good {
			t.Fatalf("%q is not in the good hash", old)
		}
		return changed
	}
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"ours", good, true},
		{"the dearest within bounds", swap("m=19456,t=2,p=1", "m=262144,t=16,p=16"), true},
		{"the cheapest within bounds", swap("m=19456,t=2,p=1", "m=8,t=1,p=1"), true},
		{"longest salt and key", swap("MDEyMzQ1Njc4OWFiY2RlZg$AT6jw0r1ot+yMKkcGiW2JrwDnB3uCCNPK9M80RGVe+w", strings.Repeat("A", 86)+"$"+strings.Repeat("A", 86)), true},
		{"empty", "", false},
		{"stars", "***", false},
		{"only signs", "$$$$$", false},
		{"all of memory", swap("m=19456", "m=4294967295"), false},
		{"more than all of memory", swap("m=19456", "m=4294967296"), false},
		{"over the memory bound", swap("m=19456", "m=262145"), false},
		{"under 8 KiB a lane", swap("m=19456,t=2,p=1", "m=15,t=2,p=2"), false},
		{"no memory", swap("m=19456", "m=0"), false},
		{"no passes", swap("t=2", "t=0"), false},
		{"over the time bound", swap("t=2", "t=17"), false},
		{"forever", swap("t=2", "t=4294967295"), false},
		{"no lanes", swap("p=1", "p=0"), false},
		{"over the lanes bound", swap("p=1", "p=17"), false},
		{"lanes that wrap to one", swap("p=1", "p=257"), false},
		{"negative", swap("t=2", "t=-2"), false},
		{"signed", swap("t=2", "t=+2"), false},
		{"leading zero", swap("t=2", "t=02"), false},
		{"hexadecimal", swap("t=2", "t=0x2"), false},
		{"underscore", swap("m=19456", "m=19_456"), false},
		{"space", swap("t=2", "t= 2"), false},
		{"other order", swap("m=19456,t=2", "t=2,m=19456"), false},
		{"no name", swap("t=2", "2"), false},
		{"name twice", swap("t=2", "t=t=2"), false},
		{"a fourth parameter", swap("p=1", "p=1,keyid=Zm9v"), false},
		{"a missing parameter", swap(",p=1", ""), false},
		{"argon2i", swap("argon2id", "argon2i"), false},
		{"argon2d", swap("argon2id", "argon2d"), false},
		{"upper case", swap("argon2id", "Argon2id"), false},
		{"older version", swap("v=19", "v=16"), false},
		{"no version", swap("$v=19", ""), false},
		{"bcrypt", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", true},
		{"bcrypt of htpasswd", "$2y$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", true},
		{"bcrypt as it was", "$2a$14$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", true},
		{"bcrypt of a broken program", "$2x$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", false},
		{"bcrypt without a letter", "$2$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUWx", false},
		{"bcrypt that takes a minute", "$2b$20$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", false},
		{"bcrypt of cost 3", "$2b$03$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", false},
		{"bcrypt of cost +4", "$2b$+4$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", false},
		{"bcrypt cut", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMU", false},
		{"bcrypt and more", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\n", false},
		{"bcrypt with a line end in it", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMU\n", false},
		{"text before", "x" + good, false},
		{"text after", good + "$", false},
		{"line end", good + "\n", false},
		{"line break in the key", swap("r1ot+", "r1\not+"), false},
		{"carriage return in the salt", swap("MDEy", "MD\rEy"), false},
		{"padding", swap("Zg$", "Zg==$"), false},
		{"loose last bits", swap("Zg$", "Zh$"), false},
		{"URL alphabet", swap("+", "-"), false},
		{"no salt", swap("MDEyMzQ1Njc4OWFiY2RlZg", ""), false},
		{"salt of 7 bytes", swap("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Ng"), false},
		{"salt of 65 bytes", swap("MDEyMzQ1Njc4OWFiY2RlZg", strings.Repeat("A", 87)), false},
		{"no key", swap("AT6jw0r1ot+yMKkcGiW2JrwDnB3uCCNPK9M80RGVe+w", ""), false},
		{"key of 15 bytes", swap("AT6jw0r1ot+yMKkcGiW2JrwDnB3uCCNPK9M80RGVe+w", strings.Repeat("A", 20)), false},
		{"key of 65 bytes", swap("AT6jw0r1ot+yMKkcGiW2JrwDnB3uCCNPK9M80RGVe+w", strings.Repeat("A", 87)), false},
		{"endless", good + strings.Repeat("A", 1<<20), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hash, err := ParsePasswordHash(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if tt.ok && hash.Encoded() != tt.text {
				t.Fatalf("became %s", hash.Encoded())
			}
			if !tt.ok && (hash != "" || len(tt.text) > 8 && strings.Contains(err.Error(), tt.text)) {
				t.Fatalf("refused, yet gave %q or told it in %q", hash.Encoded(), err)
			}
		})
	}
}

func FuzzParsePasswordHash(f *testing.F) {
	for _, ref := range referenceHashes {
		f.Add(ref.hash)
	}
	for _, s := range []string{"", "***", "$$$$$", "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q", "$argon2id$v=19$m=08,t=+1,p=1$c29t\nZXNhbHQ$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hash, err := ParsePasswordHash(s)
		if err != nil {
			if hash != "" {
				t.Fatalf("refused, yet gave %s", hash.Encoded())
			}
			return
		}
		if hash.Encoded() != s {
			t.Fatalf("%q became %q", s, hash.Encoded())
		}
		p, err := parsePHC(s)
		if err != nil || p.encode() != hash || p.cost.check() != nil {
			t.Fatalf("%q is read as %+v: %v", s, p, err)
		}
	})
}

// A hash that cannot be read is no evidence that the password is wrong.
func TestVerifyMalformedHashIsUnavailable(t *testing.T) {
	t.Parallel()
	h := cheap(t, HasherConfig{})
	for _, hash := range []PasswordHash{"x", "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"} {
		for _, password := range []string{"k7#vQ9!x", strings.Repeat("k", 10<<20)} {
			ok, err := h.Verify(t.Context(), hash, password)
			if ok || !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: got %v, %v", hash.Encoded(), ok, err)
			}
		}
	}
}

func TestNewHasherChecksItsSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]HasherConfig{
		"memory over the bound":      {Memory: maxArgonMemory + 1},
		"memory under 8 KiB":         {Memory: 7},
		"memory under 8 KiB a lane":  {Memory: 31, Parallelism: 4},
		"all of memory":              {Memory: math.MaxUint32},
		"time over the bound":        {Time: maxArgonTime + 1},
		"parallelism over the bound": {Parallelism: maxArgonParallelism + 1},
		"negative slots":             {Slots: -1},
		"negative queue":             {Queue: -1},
	} {
		if h, err := NewHasher(c); h != nil || err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	h, err := NewHasher(HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (argonCost{memory: 19456, time: 2, parallelism: 1}); h.cost != want || h.nobody.cost != want {
		t.Errorf("the zero value costs %+v, nobody %+v", h.cost, h.nobody.cost)
	}
	if h.slots.free != max(1, runtime.GOMAXPROCS(0)-1) || h.slots.queue != 256 || h.random != rand.Reader {
		t.Errorf("the zero value has %d slots and a queue of %d", h.slots.free, h.slots.queue)
	}
}

func TestNeedsRehash(t *testing.T) {
	t.Parallel()
	h, err := NewHasher(HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ours := phc{cost: h.cost, salt: make([]byte, saltLength), key: make([]byte, keyLength)}
	with := func(change func(*phc)) PasswordHash {
		p := ours
		change(&p)
		return p.encode()
	}
	tests := []struct {
		name string
		hash PasswordHash
		want bool
	}{
		{"the same", ours.encode(), false},
		{"less memory", with(func(p *phc) { p.cost.memory-- }), true},
		{"more memory", with(func(p *phc) { p.cost.memory++ }), true},
		{"fewer passes", with(func(p *phc) { p.cost.time = 1 }), true},
		{"more lanes", with(func(p *phc) { p.cost.parallelism = 2 }), true},
		{"short salt", with(func(p *phc) { p.salt = p.salt[:8] }), true},
		{"short key", with(func(p *phc) { p.key = p.key[:16] }), true},
		{"none", "", true},
	}
	for _, tt := range tests {
		if got := h.NeedsRehash(tt.hash); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// work is what argon2id was asked for.
type work struct {
	cost      argonCost
	salt, key int
	password  int // its length, the part of it that shows in the time
}

// The time of a sign-in must not tell whether the username exists (nor whether its owner
// has a password): every failure asks for the same work.
func TestUnknownAndWrongDoTheSameWork(t *testing.T) {
	t.Parallel()
	h := cheap(t, HasherConfig{})
	var done []work
	h.derive = func(password string, p phc) ([]byte, error) {
		done = append(done, work{p.cost, len(p.salt), len(p.key), len(password)})
		return p.computation(password).Key(), nil
	}
	hash, err := h.Hash(t.Context(), "k7#vQ9!x")
	if err != nil {
		t.Fatal(err)
	}
	for _, tried := range []string{"", "k7#vQ9!y", hash.Encoded(), "\xff\xfe", strings.Repeat("k", MaxPassword), strings.Repeat("k", MaxPassword+1), strings.Repeat("k", 10<<20)} {
		done = nil
		if err := h.VerifyNobody(t.Context(), tried); err != nil {
			t.Fatal(err)
		}
		for name, kept := range map[string]PasswordHash{"wrong": hash, "no password": ""} {
			if ok, err := h.Verify(t.Context(), kept, tried); ok || err != nil {
				t.Fatalf("%s: %v, %v", name, ok, err)
			}
		}
		if len(done) != 3 || done[0] != done[1] || done[1] != done[2] {
			t.Errorf("a password of %d bytes: nobody's, wrong and none differ in work: %+v", len(tried), done)
		}
		if done[0].cost != h.cost || done[0].password > MaxPassword*4 {
			t.Errorf("a password of %d bytes: work %+v", len(tried), done[0])
		}
	}
	done = nil
	if ok, err := h.Verify(t.Context(), hash, "k7#vQ9!x"); !ok || err != nil || len(done) != 1 {
		t.Fatalf("right: %v, %v, %+v", ok, err, done)
	}
}

func TestSlotsAreNeverExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots, callers = 3, 64
		h := cheap(t, HasherConfig{Slots: slots})
		hash, err := h.Hash(t.Context(), "k7#vQ9!x")
		if err != nil {
			t.Fatal(err)
		}
		var inside, most atomic.Int32
		gate := make(chan struct{})
		h.derive = func(password string, p phc) ([]byte, error) {
			n := inside.Add(1)
			defer inside.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-gate
			return p.computation(password).Key(), nil
		}
		var served atomic.Int32
		for i := range callers {
			go func() {
				var err error
				switch i % 3 {
				case 0:
					_, err = h.Hash(t.Context(), "k7#vQ9!x")
				case 1:
					_, err = h.Verify(t.Context(), hash, "k7#vQ9!x")
				case 2:
					err = h.VerifyNobody(t.Context(), "k7#vQ9!x")
				}
				if err != nil {
					t.Error(err)
				}
				served.Add(1)
			}()
		}
		synctest.Wait()
		if n := inside.Load(); n != slots {
			t.Errorf("%d at once, want %d", n, slots)
		}
		close(gate)
		synctest.Wait()
		if served.Load() != callers || most.Load() != slots {
			t.Errorf("%d of %d served, at most %d at once", served.Load(), callers, most.Load())
		}
	})
}

func TestQueueIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := cheap(t, HasherConfig{Slots: 1})
		gate := make(chan struct{})
		var order []string // written by whoever holds the only slot
		h.derive = func(password string, p phc) ([]byte, error) {
			<-gate
			order = append(order, password)
			return p.computation(password).Key(), nil
		}
		arrived := []string{"first", "second", "third", "fourth", "fifth"}
		for _, name := range arrived {
			go func() {
				if err := h.VerifyNobody(t.Context(), name); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		close(gate)
		synctest.Wait()
		if !slices.Equal(order, arrived) {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestWhoHangsUpNeverTakesASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := cheap(t, HasherConfig{Slots: 1, Queue: 4})
		var hashed atomic.Int32
		gate := make(chan struct{})
		h.derive = func(password string, p phc) ([]byte, error) {
			hashed.Add(1)
			<-gate
			return p.computation(password).Key(), nil
		}
		patient := make(chan error, 2)
		go func() { patient <- h.VerifyNobody(t.Context(), "holds the slot") }()
		synctest.Wait()

		ctx, hangUp := context.WithCancelCause(t.Context())
		gone := errors.New("client has gone")
		impatient := make(chan error, 3)
		for range 3 {
			go func() { impatient <- h.VerifyNobody(ctx, "hangs up") }()
		}
		synctest.Wait()
		go func() { patient <- h.VerifyNobody(t.Context(), "waits behind them") }()
		synctest.Wait()
		hangUp(gone)
		synctest.Wait() // the slot is still held: leaving does not wait for it
		if len(impatient) != 3 {
			t.Fatalf("%d of 3 left the queue", len(impatient))
		}
		for range 3 {
			if err := <-impatient; !errors.Is(err, ErrUnavailable) || !errors.Is(err, gone) {
				t.Errorf("got %v", err)
			}
		}
		if err := h.VerifyNobody(ctx, "comes after hanging up"); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
		if n := h.slots.waiting; n != 1 {
			t.Errorf("%d still wait, want 1", n)
		}
		close(gate)
		for range 2 {
			if err := <-patient; err != nil {
				t.Error(err)
			}
		}
		if n := hashed.Load(); n != 2 {
			t.Errorf("hashed %d times, want 2", n)
		}
		if err := h.VerifyNobody(ctx, "comes to a free slot after hanging up"); !errors.Is(err, gone) || hashed.Load() != 2 {
			t.Errorf("got %v, hashed %d times", err, hashed.Load())
		}
	})
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := cheap(t, HasherConfig{Slots: 2, Queue: 3})
		gate := make(chan struct{})
		h.derive = func(password string, p phc) ([]byte, error) {
			<-gate
			return p.computation(password).Key(), nil
		}
		served := make(chan error, 5)
		for range 5 {
			go func() { served <- h.VerifyNobody(t.Context(), "k7#vQ9!x") }()
		}
		synctest.Wait()
		// Were these to wait, the bubble would be deadlocked and the test fail.
		_, hashing := h.Hash(t.Context(), "k7#vQ9!x")
		_, verifying := h.Verify(t.Context(), "", "k7#vQ9!x")
		for _, err := range []error{hashing, verifying, h.VerifyNobody(t.Context(), "k7#vQ9!x")} {
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeThrottled || !errors.Is(err, ErrTooManyRequests) || e.RetryAfter <= 0 {
				t.Errorf("got %v", err)
			}
		}
		close(gate)
		for range 5 {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
		if err := h.VerifyNobody(t.Context(), "k7#vQ9!x"); err != nil {
			t.Errorf("after the rush: %v", err)
		}
	})
}

// The slot is handed over and the context ends before the waiter looks: it gives the slot
// to who is next.
func TestSlotHandedToWhoHasGoneIsPassedOn(t *testing.T) {
	t.Parallel()
	s := newSlots(1, 2)
	if err := s.acquire(t.Context(), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	turn, err := s.enqueue(netip.Addr{})
	if turn == nil || err != nil {
		t.Fatalf("did not queue: %v", err)
	}
	next, err := s.enqueue(netip.Addr{})
	if next == nil || err != nil {
		t.Fatalf("did not queue: %v", err)
	}
	s.release()
	hangUp()
	if err := s.wait(ctx, turn); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := s.wait(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	s.release()
	if s.free != 1 || s.waiting != 0 {
		t.Fatalf("%d free, %d waiting", s.free, s.waiting)
	}
}

func TestNoSlotLeaksAfterRandomHangUps(t *testing.T) {
	t.Parallel()
	const slots, callers = 2, 1000
	h := cheap(t, HasherConfig{Slots: slots, Queue: callers})
	hash, err := h.Hash(t.Context(), "k7#vQ9!x")
	if err != nil {
		t.Fatal(err)
	}
	random := mathrand.New(mathrand.NewPCG(7, 7))
	var callersDone sync.WaitGroup
	for range callers {
		ctx, hangUp := context.WithCancel(t.Context())
		yields := random.IntN(64)
		callersDone.Go(func() {
			for range yields {
				runtime.Gosched()
			}
			hangUp()
		})
		callersDone.Go(func() {
			ok, err := h.Verify(ctx, hash, "k7#vQ9!x")
			if err == nil && !ok || err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	callersDone.Wait()
	if h.slots.free != slots || h.slots.waiting != 0 {
		t.Fatalf("%d of %d slots free, %d waiting", h.slots.free, slots, h.slots.waiting)
	}
}

func BenchmarkHash(b *testing.B) {
	h, err := NewHasher(HasherConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "your-password"); err != nil {
			b.Fatal(err)
		}
	}
}

// Reports, beside the time of one hash, the most memory that the process ever had from
// the system: it must not grow with the number of callers.
func BenchmarkVerifyFrom64Callers(b *testing.B) {
	h, err := NewHasher(HasherConfig{Slots: 2})
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism((64 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := h.VerifyNobody(b.Context(), "your-password"); err != nil {
				b.Error(err)
			}
		}
	})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-from-system")
}

func BenchmarkParsePasswordHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePasswordHash(referenceHashes[1].hash); err != nil {
			b.Fatal(err)
		}
	}
}

// TestKeysFromElsewhere: a program may compute the keys in another place. What fails there is
// no verdict about a password, whoever asks and whether the user exists or not.
func TestKeysFromElsewhere(t *testing.T) {
	t.Parallel()
	var asked []Argon2
	failure := errors.New("the other place is gone")
	fail, short := false, false
	h := cheap(t, HasherConfig{Key: func(a Argon2) ([]byte, error) {
		asked = append(asked, a)
		switch {
		case fail:
			return nil, failure
		case short:
			return a.Key()[:8], nil
		}
		return a.Key(), nil
	}})
	hash, err := h.Hash(t.Context(), "k7#vQ9!x")
	if err != nil {
		t.Fatal(err)
	}
	here := cheap(t, HasherConfig{})
	for password, want := range map[string]bool{"k7#vQ9!x": true, "k7#vQ9!y": false} {
		there, err := h.Verify(t.Context(), hash, password)
		same, err2 := here.Verify(t.Context(), hash, password)
		if err != nil || err2 != nil || there != want || same != want {
			t.Errorf("%s: %v, %v there and %v, %v here", password, there, err, same, err2)
		}
	}
	if len(asked) != 3 || asked[0].Length != keyLength || len(asked[0].Salt) != saltLength {
		t.Errorf("asked for %d keys", len(asked))
	}
	for _, broken := range []*bool{&fail, &short} {
		*broken = true
		for name, err := range map[string]error{
			"hash":   func() error { _, err := h.Hash(t.Context(), "k7#vQ9!x"); return err }(),
			"right":  func() error { _, err := h.Verify(t.Context(), hash, "k7#vQ9!x"); return err }(),
			"wrong":  func() error { _, err := h.Verify(t.Context(), hash, "k7#vQ9!y"); return err }(),
			"none":   func() error { _, err := h.Verify(t.Context(), "", "k7#vQ9!y"); return err }(),
			"nobody": h.VerifyNobody(t.Context(), "k7#vQ9!y"),
		} {
			if e := Refusal(err); e == nil || e.Code != CodeUnavailable {
				t.Errorf("%s: %v", name, err)
			}
		}
		*broken = false
	}
	if h.slots.free != max(1, runtime.GOMAXPROCS(0)-1) {
		t.Errorf("%d slots are free", h.slots.free)
	}
}
