package doorward

// Confirmation is what the use of an access token tells about its session's refresh chain.
type Confirmation int

// The outcomes of Chain.Confirm.
const (
	// Passes: the token is good and the chain stays as it is. May be remembered until the
	// token expires: no later refresh makes the token one that ends the session. (Who asks
	// again instead may find it Stale, once a later answer was lost.)
	Passes Confirmation = iota + 1
	// Confirms: the token is good, and it is the first sign that the answer of the last
	// refresh has arrived. Pass, and remember it, only once the chain is written.
	Confirms
	// Ahead: the token is newer than the row, so the database went backwards. Pass and
	// raise an alarm; never remember it, since the row may yet go another way.
	Ahead
	// Stale: too old to tell the path that was taken from a branch that died. Refuse it
	// (401) without any effect, so that a token out of an old log ends nobody's session.
	// No restored backup makes one of these newer than the row, whatever it says of when it was issued.
	Stale
	// AccessReused: the token of a branch that was given up. Two parties hold tokens of one
	// session: it must end.
	AccessReused
)

// Confirm judges the access token that came with the refresh token rjti of generation
// gen and was issued at iat (Unix seconds), and returns the chain as it is to be
// afterwards: another one for Confirms, else c. The token must be well signed and unexpired
// and its session alive; that is the caller's to see to.
//
// Its purpose is to let a lost answer be asked for again for as long as nobody has shown
// that it arrived, and no longer. While the head is only presented again and again, its
// holder may be an honest client that hears nothing, so another child costs nobody the
// session. A child's access token at the door proves that somebody got the answer: from
// then on the head is a replaced token, and presenting it is reuse (RFC 9700, section
// 4.14.2). Whoever refreshes with a stolen token must therefore give itself away or do
// without the access token that it wanted.
//
// Generations 0 and 1 always pass, so that a client which never adopts a new refresh token
// works until its first one expires; the price is that the first rotation detects nothing.
//
// The chain that Confirms returns is written by compare-and-set: only where the row's child
// is still c's and the session has not ended. As ids are never reused, equality of the
// child alone means that nothing else has changed. One that finds it changed reads the
// row and judges again. No other outcome writes the chain; AccessReused needs no comparison,
// since no later row turns the token into one of the path.
func (c Chain) Confirm(rjti string, gen, iat int64) (next Chain, outcome Confirmation) {
	switch {
	case gen == 0, gen == 1:
		return c, Passes

	case c.Child != "" && rjti == c.Child && gen == c.Gen+1:
		// Minted is kept: a retry of the request that this child answered is still a retry.
		return Chain{Prev: c.Head, Head: c.Child, Gen: c.Gen + 1, Fork: c.Fork, Minted: c.Minted}, Confirms

	case rjti == c.Head && gen == c.Gen, c.Prev != "" && rjti == c.Prev && gen == c.Gen-1:
		return c, Passes

	case c.isBehind(gen, iat):
		return c, Ahead

	case gen >= c.Gen-1:
		return c, AccessReused // of a generation whose one good token the row knows, and not that one

	case gen > c.Fork:
		return c, Passes // only one token of this generation was ever minted
	}
	return c, Stale
}
