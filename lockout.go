package doorward

import "time"

// LockoutPolicy says when guessing at one account is stopped (OWASP ASVS 5.0, 6.3.1).
type LockoutPolicy struct {
	Attempts int           // so many failures within Window lock the account
	Window   time.Duration // sliding
	Duration time.Duration // of the lock, from the last failure
}

// Failures is what is kept of the failed attempts at one account. A comparison under way
// is among them until it ends well, so that no number of simultaneous guesses gets more
// than Attempts compared, and a crash counts against the guesser.
type Failures struct {
	Times       []time.Time // oldest first, at most Attempts
	LockedUntil time.Time   // zero while not locked
}

// Count reserves one comparison at the time now. It returns what to keep and 0, or, when
// the account is locked, f unchanged and the time until the lock ends: a refusal does
// not extend the lock.
func (p LockoutPolicy) Count(f Failures, now time.Time) (Failures, time.Duration) {
	if left := f.LockedUntil.Sub(now); left > 0 {
		return f, left
	}
	var kept []time.Time
	// A lock that has ended took its failures with it.
	if f.LockedUntil.IsZero() {
		for _, t := range f.Times {
			if now.Sub(t) < p.Window {
				kept = append(kept, t)
			}
		}
	}
	next := Failures{Times: append(kept, now)}
	if len(next.Times) >= p.Attempts {
		next.LockedUntil = now.Add(p.Duration)
	}
	return next, 0
}

// KeepFor is how long a record must be kept after its last failure before it means
// nothing any more.
func (p LockoutPolicy) KeepFor() time.Duration { return max(p.Window, p.Duration) }
