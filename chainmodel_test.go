package doorward_test

import (
	"fmt"
	"hash/maphash"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorward"
)

// An exhaustive model of the refresh chain. It plays every history of a few steps of the
// parties around one session (its client, a thief, two nodes, the network that loses and
// delays, the operator who restores a backup) against the real Chain.Present and
// Chain.Confirm, and checks after each step what is claimed of them in
// docs/refresh-chain.md. A claim that does not hold gives the shortest history against it.
//
// Time is one bit of the row: whether the retry window since its newest token was minted
// is over; and one of the world: whether the second of the backup is over, since tokens
// say in whole seconds when they were issued. Nothing else in the rules depends on time,
// since an expired token never reaches them. Histories that differ in names or in tokens
// nobody can use any more are one.

// modelRules is what the model plays against: the real rules, or ones that are broken on
// purpose or built otherwise, to show that the model tells the difference.
type modelRules struct {
	present func(c doorward.Chain, jti string, gen, iat int64, now time.Time, r doorward.RefreshRules, newID func() string) (doorward.Chain, doorward.Presentation)
	confirm func(c doorward.Chain, rjti string, gen, iat int64) (doorward.Chain, doorward.Confirmation)
}

func realRules() modelRules {
	return modelRules{doorward.Chain.Present, doorward.Chain.Confirm}
}

// claim is a set of promises that a scenario is checked for.
type claim uint16

const (
	staysSignedIn   claim = 1 << iota // the session is never revoked
	isServed                          // every refresh of the client is answered, and the newest access token it has passes
	lineIsOne                         // accepted tokens form one line
	neverBackwards                    // no token is found newer than the row but one minted after the backup that was restored
	verdictsSettle                    // a pass never becomes reuse, reuse never becomes a pass, a confirmation needs no second
	passesForever                     // a pass never even becomes stale
	newerIsAhead                      // after a restore, a token of a generation that the row has not, or of a later second, is refused with 503 or passed with an alarm
	laterIsAhead                      // as newerIsAhead, for every token minted after the backup
	theftIsBound                      // a thief who refreshed and was let in is found by the client's next refresh
	unusedIsBound                     // as theftIsBound, though the access token was not used yet
	firstIsBound                      // as theftIsBound, though the session had not rotated when the thief refreshed
	accessIsBound                     // as theftIsBound, for an access token that was stolen, not refreshed
	nothingIsShared                   // no answer goes both to the client and the thief
)

// scenario says who takes part and how far to look.
type scenario struct {
	window bool // a retry window; else none
	strict bool
	claims claim
	depth  int // steps; 0 means until nothing new is found (not with restores: then generations grow without end)

	keepsFirst bool // the client never adopts a new refresh token
	loses      bool // answers to a refresh may be lost
	duplicates bool // a request may be in the network twice, the second arriving any time later
	threads    bool // the answer to the second request is adopted too, and an answer may take long
	inOrder    bool // no refresh with a newer token while a request or an answer from before it is under way
	quick      bool // the window never ends
	inTime     bool // the window does not end, nor is the backup restored, while a request or an answer is under way
	forgets    bool // the client may be restarted from its first token
	oldAccess  bool // older access tokens are used as well
	thefts     int8 // of a refresh token and its access token
	steals     loot // which; any that was ever handed to the client if not said
	nodes      int8 // with memories of their own
	restarts   bool // of a node, which forgets
	restores   bool // one backup is taken and restored
	unhurried  bool // between two mintings, a second ends
	stopped    bool // the nodes are restarted with the restore
	outages    bool // the database may be out of reach when an access token is used
}

// loot is what a thief gets hold of.
type loot uint8

const (
	anyToken    loot = iota
	currentOnly      // the client's current refresh token
	usedOnly         // a refresh token that the client does not use any more
	accessOnly       // an access token, any that was ever handed to the client
)

const (
	modelTokens = 10 // how many are told apart; the oldest that nothing points to counts as expired
	none        = int8(-1)
	bothNodes   = onNodeA | onNodeB
)

// What is known of a token, and who has it.
const (
	toClient      uint16 = 1 << iota // an answer with it was sent to the client, which may have been lost
	toThief                          // an answer with it was sent to the thief
	rotatedBefore                    // ... for a refresh of a session that had rotated
	clientAccess                     // the client has its access token
	thiefAccess                      // the thief has its access token
	thiefRefresh                     // the thief has the refresh token
	requestUnder                     // a request of the client with it is under way
	answerUnder                      // an answer with it is under way to the client
	acceptedTheft                    // the door let the thief in with its access token
	onNodeA                          // remembered
	onNodeB
	hadHeadChild // a child of it became the head
	afterBackup  // minted between the backup and the restore
	laterSecond  // ... when the second of the backup's newest token was over, and the restored row has minted none since
)

type modelToken struct {
	gen, parent int8
	is          uint16
}

type modelRow struct {
	prev, head, child, gen, fork int8
	over                         bool // the retry window since minted
}

// modelState is the whole world at one moment. It is comparable: equal states are one.
type modelState struct {
	tok      [modelTokens]modelToken
	n        int8
	row      modelRow
	backup   modelRow
	current  int8 // the client's refresh token
	thefts   int8
	restored int8 // 0 no backup, 1 taken, 2 restored
	second   bool // between the two: the second of the backup's newest token is over
	revoked  bool
}

type eventKind uint8

const (
	refreshes eventKind = iota // the client, with its current token, and gets the answer
	refreshesInVain
	refreshesSlowly
	sendsTwice
	secondArrives
	secondArrivesInVain
	slowArrives
	slowIsLost
	uses
	usesInOutage
	steals
	stealsAccess
	thiefRefreshes
	thiefUses
	thiefUsesInOutage
	forgetsAll
	windowEnds
	secondEnds
	nodeRestarts
	backupIsTaken
	backupIsRestored
)

// presents says whether a refresh token is presented.
func (k eventKind) presents() bool {
	switch k {
	case refreshes, refreshesInVain, refreshesSlowly, secondArrives, secondArrivesInVain, thiefRefreshes:
		return true
	}
	return false
}

type event struct {
	kind eventKind
	tok  int8
	node int8 // 0 none, 1 A, 2 B
}

// step is what came of an event.
type step struct {
	next      modelState
	moved     [modelTokens]int8 // from the old index of a token to the new
	said      string            // the verdict, for people
	violation string
}

// modelWorld plays one scenario.
type modelWorld struct {
	scenario
	rules modelRules
}

var modelEpoch = time.UnixMilli(1_800_000_000_000)

const modelWindow = 10 * time.Second

// modelID names token i to the rules.
func modelID(i int8) string {
	if i == none {
		return ""
	}
	return "abcdefghijklmnopqrstuvwxyz"[i : i+1]
}

func modelIndex(id string) int8 {
	if id == "" {
		return none
	}
	return int8(id[0] - 'a')
}

func (r modelRow) chain() doorward.Chain {
	return doorward.Chain{
		Prev: modelID(r.prev), Head: modelID(r.head), Child: modelID(r.child),
		Gen: int64(r.gen), Fork: int64(r.fork), Minted: modelEpoch,
	}
}

func rowOf(c doorward.Chain, over bool) modelRow {
	return modelRow{modelIndex(c.Prev), modelIndex(c.Head), modelIndex(c.Child), int8(c.Gen), int8(c.Fork), over}
}

func (w *modelWorld) start() modelState {
	s := modelState{n: 1, row: modelRow{prev: none, head: 0, child: none}}
	s.backup = modelRow{prev: none, head: none, child: none}
	s.tok[0] = modelToken{parent: none, is: toClient | clientAccess}
	return s
}

// events appends what may happen next to es.
func (w *modelWorld) events(s *modelState, es []event) []event {
	if s.revoked {
		return es
	}
	add := func(k eventKind, tok, node int8) { es = append(es, event{k, tok, node}) }
	underWay, olderUnderWay := false, false
	for i := range s.n {
		t := s.tok[i]
		underWay = underWay || t.is&(requestUnder|answerUnder) != 0
		olderUnderWay = olderUnderWay || t.is&requestUnder != 0 && i != s.current ||
			t.is&answerUnder != 0 && t.gen <= s.tok[s.current].gen
	}
	if !w.inOrder || !olderUnderWay {
		add(refreshes, s.current, 0)
		if w.loses {
			add(refreshesInVain, s.current, 0)
		}
		if w.threads {
			add(refreshesSlowly, s.current, 0)
		}
		if w.duplicates && s.tok[s.current].is&requestUnder == 0 {
			add(sendsTwice, s.current, 0)
		}
	}
	if w.window && !w.quick && !s.row.over && !(w.inTime && underWay) {
		add(windowEnds, none, 0)
	}
	for i := range s.n {
		is := s.tok[i].is
		if is&requestUnder != 0 {
			if w.loses || !w.threads {
				add(secondArrivesInVain, i, 0)
			}
			if w.threads {
				add(secondArrives, i, 0)
			}
		}
		if is&answerUnder != 0 {
			add(slowArrives, i, 0)
			if w.loses {
				add(slowIsLost, i, 0)
			}
		}
		for node := min(w.nodes, 1); node <= w.nodes; node++ {
			if is&clientAccess != 0 {
				add(uses, i, node)
			}
			if is&thiefAccess != 0 {
				add(thiefUses, i, node)
			}
		}
		if w.outages && is&clientAccess != 0 {
			add(usesInOutage, i, 0)
		}
		if w.outages && is&thiefAccess != 0 {
			add(thiefUsesInOutage, i, 0)
		}
		if is&toClient != 0 && s.thefts < w.thefts {
			switch {
			case w.steals == accessOnly:
				add(stealsAccess, i, 0)
			case w.steals == anyToken, (w.steals == currentOnly) == (i == s.current):
				add(steals, i, 0)
			}
		}
		if is&thiefRefresh != 0 {
			add(thiefRefreshes, i, 0)
		}
		if w.forgets && s.tok[i].gen == 0 && i != s.current {
			add(forgetsAll, i, 0)
		}
	}
	if w.restarts {
		for node := int8(1); node <= w.nodes; node++ {
			add(nodeRestarts, none, node)
		}
	}
	if w.restores && s.restored == 0 {
		add(backupIsTaken, none, 0)
	}
	if s.restored == 1 && !s.second && !w.unhurried {
		add(secondEnds, none, 0)
	}
	if s.restored == 1 && !(w.inTime && underWay) {
		add(backupIsRestored, none, 0)
	}
	return es
}

// apply plays e in s.
func (w *modelWorld) apply(s modelState, e event) step {
	p := play{w: w, s: s, before: s}
	p.makeRoom(e)
	if e.tok != none {
		e.tok = p.moved[e.tok]
	}
	before := p.s // after making room, so that indexes agree
	p.event(e)
	if p.violation == "" && w.claims&(verdictsSettle|passesForever) != 0 && !p.s.revoked && p.s.restored == 0 {
		p.checkVerdicts(&before)
	}
	p.tidy()
	return step{p.s, p.moved, p.said, p.violation}
}

// play is one step under way.
type play struct {
	w         *modelWorld
	before, s modelState
	moved     [modelTokens]int8
	said      string
	violation string
}

func (p *play) violate(c claim, format string, args ...any) {
	if p.w.claims&c != 0 && p.violation == "" {
		p.violation = fmt.Sprintf(format, args...)
	}
}

func (p *play) revoke(why string) {
	p.s.revoked = true
	p.violate(staysSignedIn, "the session was revoked: %s", why)
}

func (p *play) event(e event) {
	s, t := &p.s, &p.s.tok[max(e.tok, 0)]
	switch e.kind {
	case refreshes:
		if y, ok := p.clientPresented(e.tok); ok {
			p.adopt(y)
		}
	case refreshesInVain:
		p.clientPresented(e.tok)
	case refreshesSlowly:
		if y, ok := p.clientPresented(e.tok); ok {
			s.tok[y].is |= answerUnder
		}
	case sendsTwice:
		t.is |= requestUnder
	case secondArrives:
		t.is &^= requestUnder
		if y, ok := p.clientPresented(e.tok); ok {
			p.adopt(y)
		}
	case secondArrivesInVain:
		t.is &^= requestUnder
		p.clientPresented(e.tok)
	case slowArrives:
		t.is &^= answerUnder
		p.adopt(e.tok)
	case slowIsLost:
		t.is &^= answerUnder
	case uses:
		passed := p.used(e.tok, e.node)
		if !passed && t.is&clientAccess != 0 && e.tok == p.newestAccess() {
			p.violate(isServed, "the newest access token was refused")
		}
	case thiefUses:
		if p.used(e.tok, e.node) {
			t.is |= acceptedTheft
		}
	case usesInOutage:
		p.said = "passes unconfirmed"
	case thiefUsesInOutage:
		p.said = "passes unconfirmed"
		t.is |= acceptedTheft
	case steals:
		s.thefts++
		t.is |= thiefRefresh | thiefAccess
	case stealsAccess:
		s.thefts++
		t.is |= thiefAccess
	case thiefRefreshes:
		p.thiefPresented(e.tok)
	case forgetsAll:
		s.current = e.tok
	case windowEnds:
		s.row.over, s.backup.over, s.second = true, s.restored == 1, s.restored == 1
	case secondEnds:
		s.second = true
	case nodeRestarts:
		for i := range s.n {
			s.tok[i].is &^= onNode(e.node)
		}
	case backupIsTaken:
		s.restored, s.backup, s.second = 1, s.row, s.row.over || p.w.unhurried
	case backupIsRestored:
		s.restored, s.row, s.backup, s.second = 2, s.backup, modelRow{prev: none, head: none, child: none}, false
		for i := range s.n {
			t := &s.tok[i]
			// What a thief got and did since is forgotten; it can be found only if it comes again.
			t.is &^= acceptedTheft
			if t.is&afterBackup != 0 {
				t.is &^= toThief | rotatedBefore
			}
			if p.w.stopped {
				t.is &^= bothNodes
			}
		}
	}
}

func onNode(node int8) uint16 {
	switch node {
	case 1:
		return onNodeA
	case 2:
		return onNodeB
	}
	return 0
}

// adopt lets the client take the answer y. Without threads it forgets the access tokens
// before, unless it uses old ones too.
func (p *play) adopt(y int8) {
	if !p.w.oldAccess {
		for i := range p.s.n {
			p.s.tok[i].is &^= clientAccess
		}
	}
	p.s.tok[y].is |= clientAccess
	if !p.w.keepsFirst {
		p.s.current = y
	}
}

func (p *play) newestAccess() int8 {
	newest := none
	for i := range p.s.n {
		if p.s.tok[i].is&clientAccess != 0 {
			newest = i
		}
	}
	return newest
}

// clientPresented presents x for the client and checks what the client is owed by it. ok
// says whether there was an answer; y is what it carried.
func (p *play) clientPresented(x int8) (y int8, ok bool) {
	outcome, y := p.present(x)
	ok = outcome == doorward.Advanced || outcome == doorward.Repeated
	if !ok {
		if !p.s.revoked {
			p.violate(isServed, "the client's refresh was refused")
		}
		return none, false
	}
	p.s.tok[y].is |= toClient
	// A theft is found when this presentation is reuse; here it was not. The exception is a
	// token handed to both, which is so when both presented the same refresh token within
	// the window of its answer.
	for i := range p.s.n {
		is := p.s.tok[i].is
		if is&acceptedTheft != 0 {
			p.violate(accessIsBound, "the client's refresh was answered, though the thief had been let in")
		}
		if is&toThief == 0 {
			continue
		}
		if is&toClient != 0 {
			p.violate(nothingIsShared, "the client and the thief got the same answer")
			p.s.tok[i].is &^= toThief | rotatedBefore | acceptedTheft
			continue
		}
		if is&rotatedBefore != 0 && is&acceptedTheft != 0 {
			p.violate(theftIsBound, "the client's refresh was answered, though the thief had refreshed and been let in")
		}
		if is&rotatedBefore != 0 {
			p.violate(unusedIsBound, "the client's refresh was answered, though the thief had refreshed")
		}
		if is&acceptedTheft != 0 {
			p.violate(firstIsBound, "the client's refresh was answered, though the thief had made the first rotation and been let in")
		}
	}
	return y, true
}

func (p *play) thiefPresented(x int8) {
	// It has rotated when the token of the thief or of the client is not its first. (With
	// requests that arrive late, only the thief's counts: one with the client's first may
	// then be still to come.)
	rotated := p.s.tok[x].gen >= 1 || !p.w.duplicates && p.s.tok[p.s.current].gen >= 1
	outcome, y := p.present(x)
	if outcome != doorward.Advanced && outcome != doorward.Repeated {
		return
	}
	t := &p.s.tok[y]
	t.is |= thiefRefresh | thiefAccess
	if t.is&toClient != 0 {
		p.violate(nothingIsShared, "the client and the thief got the same answer")
		return
	}
	t.is |= toThief
	if rotated {
		t.is |= rotatedBefore
	}
}

// malformed begins what is found against a rule whatever is claimed.
const malformed = "no rule may do this: "

// present asks the rule, keeps what it says and checks the line.
func (p *play) present(x int8) (outcome doorward.Presentation, answer int8) {
	s := &p.s
	c := s.row.chain()
	now := modelEpoch
	rules := doorward.RefreshRules{Strict: p.w.strict}
	if p.w.window {
		rules.RetryWindow = modelWindow
		now = now.Add(modelWindow - time.Millisecond)
	}
	if s.row.over {
		now = modelEpoch.Add(modelWindow)
	}
	minted := 0
	newID := func() string { minted++; return modelID(s.n) }
	next, outcome := p.w.rules.present(c, modelID(x), int64(s.tok[x].gen), s.issuedAt(x), now, rules, newID)
	p.said = [...]string{"nothing", "a new token", "the same answer", "503", "reuse"}[outcome]
	if outcome != doorward.Backwards {
		p.violate(p.newer(x), "a refresh token newer than the row was not refused with 503")
	}
	if outcome == doorward.Backwards && !s.isLost(x) {
		p.violate(neverBackwards, "the database was found to have gone backwards behind a token that it knew")
	}
	switch {
	case outcome == doorward.Advanced && minted != 1, outcome != doorward.Advanced && (minted != 0 || next != c):
		p.violation = malformed + "the chain changed though nothing was to change, or the other way round"
		return outcome, none
	case outcome == doorward.Backwards:
		return outcome, none
	case outcome == doorward.Reused:
		p.revoke("a refresh token was taken for reused")
		return outcome, none
	}
	if x != s.row.head && x != s.row.child && (x != s.row.prev || s.row.over || !p.w.window) {
		p.violate(lineIsOne, "a replaced token was answered")
	}
	if outcome == doorward.Advanced {
		parent, gen := modelIndex(next.Head), int8(next.Gen)+1
		s.tok[s.n] = modelToken{gen: gen, parent: parent}
		for i := range s.n {
			if s.restored == 2 {
				s.tok[i].is &^= laterSecond // what is minted now is no older
			}
		}
		if s.restored == 1 {
			s.tok[s.n].is |= afterBackup
		}
		if s.restored == 1 && s.second {
			s.tok[s.n].is |= laterSecond
		}
		s.n++
		p.keep(rowOf(next, false))
	}
	jti, gen := next.Newest()
	answer = modelIndex(jti)
	if int64(s.tok[answer].gen) != gen {
		p.violation = malformed + "an answer's generation is not its token's"
	}
	if s.tok[answer].parent != x && s.tok[x].parent != none && answer != x {
		p.violate(lineIsOne, "an answer is no child of the token that was presented")
	}
	return outcome, answer
}

// isLost reports whether the row, restored from a backup, never knew of x.
func (s *modelState) isLost(x int8) bool { return s.restored == 2 && s.tok[x].is&afterBackup != 0 }

// issuedAt is the second in which x says that it was minted. All of the past is taken for
// as late as it could be: the second of the row's newest token.
func (s *modelState) issuedAt(x int8) int64 {
	if s.restored == 2 && s.tok[x].is&laterSecond != 0 {
		return modelEpoch.Unix() + 1
	}
	return modelEpoch.Unix()
}

// newer returns the claims under which x is newer than the row.
func (p *play) newer(x int8) claim {
	s, t, row := &p.s, p.s.tok[x], p.s.row
	switch {
	case !s.isLost(x):
		return 0
	case t.gen > row.gen+1, t.gen == row.gen+1 && row.child == none, t.is&laterSecond != 0:
		return newerIsAhead | laterIsAhead
	}
	return laterIsAhead
}

// keep writes the row and checks that the head moved along the one line.
func (p *play) keep(next modelRow) {
	old := p.s.row
	p.s.row = next
	if next.head == old.head {
		if next.prev != old.prev || next.gen != old.gen {
			p.violate(lineIsOne, "the head stayed but its past did not")
		}
		return
	}
	t := &p.s.tok[old.head]
	if next.head != old.child || next.prev != old.head || next.gen != old.gen+1 || p.s.tok[next.head].parent != old.head || t.is&hadHeadChild != 0 {
		p.violate(lineIsOne, "the head moved to a token that is not its only successor")
	}
	t.is |= hadHeadChild
}

// used shows x's access token at the door of node and says whether it passed.
func (p *play) used(x, node int8) bool {
	s := &p.s
	if s.tok[x].is&onNode(node) != 0 {
		p.said = "passes, remembered"
		return true
	}
	c := s.row.chain()
	next, outcome := p.w.rules.confirm(c, modelID(x), int64(s.tok[x].gen), s.issuedAt(x))
	p.said = [...]string{"nothing", "passes", "passes, confirms", "passes with an alarm", "stale, 401", "reuse"}[outcome]
	if outcome != doorward.Ahead && s.tok[x].gen > 1 {
		p.violate(p.newer(x), "an access token newer than the row did not pass with an alarm")
	}
	if outcome != doorward.Confirms && next != c || outcome == doorward.Confirms && next.Minted != c.Minted {
		p.violation = malformed + "the chain changed though nothing was to change"
	}
	switch outcome {
	case doorward.Passes:
		s.tok[x].is |= onNode(node)
		return true
	case doorward.Confirms:
		p.keep(rowOf(next, s.row.over))
		s.tok[x].is |= onNode(node)
		return true
	case doorward.Ahead:
		if !s.isLost(x) {
			p.violate(neverBackwards, "the database was found to have gone backwards behind a token that it knew")
		}
		return true
	case doorward.AccessReused:
		p.revoke("an access token was taken for reused")
	}
	return false
}

// checkVerdicts compares what would be said of every access token before and after the step.
func (p *play) checkVerdicts(before *modelState) {
	was, is := before.row.chain(), p.s.row.chain()
	if was == is {
		return
	}
	for i := range before.n {
		gen := int64(p.s.tok[i].gen)
		_, then := p.w.rules.confirm(was, modelID(i), gen, before.issuedAt(i))
		_, now := p.w.rules.confirm(is, modelID(i), gen, p.s.issuedAt(i))
		good := false
		switch then {
		case doorward.Passes:
			good = now == doorward.Passes || now == doorward.Stale
			if now != doorward.Passes && before.tok[i].is&clientAccess != 0 {
				p.violate(passesForever, "a token that passed would now be refused")
			}
		case doorward.Confirms:
			good = now == doorward.Passes || now == doorward.AccessReused || now == doorward.Confirms
		case doorward.AccessReused:
			good = now == doorward.AccessReused || now == doorward.Stale
		case doorward.Stale:
			good = now == doorward.Stale
		}
		if !good {
			p.violate(verdictsSettle, "the verdict on an access token went from %d to %d", then, now)
		}
	}
}

// makeRoom lets the oldest token expire that neither row points to, if e may mint one and
// there is no room for it.
func (p *play) makeRoom(e event) {
	for i := range p.moved {
		p.moved[i] = int8(i)
	}
	if p.s.n < modelTokens || !e.kind.presents() {
		return
	}
	for i := range p.s.n {
		if i != e.tok && i != p.s.current && !(p.w.forgets && p.s.tok[i].gen == 0) && !p.s.row.has(i) && !p.s.backup.has(i) && p.s.tok[i].is&acceptedTheft == 0 {
			p.drop(func(j int8) bool { return i == j })
			return
		}
	}
	panic("modelTokens is too small for this scenario")
}

func (r modelRow) has(i int8) bool { return r.prev == i || r.head == i || r.child == i }

// tidy brings the state into the one form that all states have in which the same can happen.
func (p *play) tidy() {
	s := &p.s
	if s.revoked {
		// Nothing happens any more.
		p.s = modelState{revoked: true}
		return
	}
	if !p.w.window {
		s.row.over, s.backup.over = false, false
	}
	live := clientAccess | thiefAccess | thiefRefresh | requestUnder | answerUnder
	if s.thefts < p.w.thefts {
		live |= toClient
	}
	p.drop(func(i int8) bool {
		first := p.w.forgets && s.tok[i].gen == 0
		return i != s.current && !first && !s.row.has(i) && !s.backup.has(i) && s.tok[i].is&live == 0
	})
	least := s.row.gen - 1 // prev's
	for i := range s.n {
		t := &s.tok[i]
		if t.is&(clientAccess|thiefAccess) == 0 {
			t.is &^= bothNodes // a memory of what nobody has
		}
		least = min(least, t.gen)
	}
	if s.restored == 1 {
		least = min(least, s.backup.gen-1)
	}
	// Generations matter only by how they compare, but for 0 and 1; and a fork below all others
	// is as good as none.
	if s.row.fork < least {
		s.row.fork = 0
	}
	if s.backup.fork < least {
		s.backup.fork = 0
	}
	shift := least - 2
	if shift <= 0 {
		return
	}
	for i := range s.n {
		s.tok[i].gen -= shift
	}
	s.row.shift(shift)
	if s.restored == 1 {
		s.backup.shift(shift)
	}
}

func (r *modelRow) shift(by int8) {
	r.gen -= by
	if r.fork > 0 {
		r.fork -= by
	}
}

// drop removes the tokens of which gone says so, and closes the ranks.
func (p *play) drop(gone func(int8) bool) {
	s := &p.s
	var to [modelTokens]int8
	var kept int8
	any := false
	for i := range s.n {
		if gone(i) {
			to[i], any = none, true
			continue
		}
		to[i] = kept
		kept++
	}
	if !any {
		return
	}
	move := func(i int8) int8 {
		if i == none {
			return none
		}
		return to[i]
	}
	old := s.tok
	for i := range s.n {
		if to[i] == none {
			continue
		}
		t := old[i]
		t.parent = move(t.parent)
		s.tok[to[i]] = t
	}
	for i := kept; i < s.n; i++ {
		s.tok[i] = modelToken{}
	}
	before := s.n
	s.n = kept
	s.current = move(s.current)
	for _, r := range []*modelRow{&s.row, &s.backup} {
		r.prev, r.head, r.child = move(r.prev), move(r.head), move(r.child)
	}
	for i, m := range p.moved {
		if m != none && m < before {
			p.moved[i] = to[m]
		}
	}
}

// modelFound is what exploring a scenario came to.
type modelFound struct {
	states int
	depth  int  // of the deepest step played
	closed bool // nothing new was to be found: the verdict holds for any number of steps
	why    string
	trace  string // the shortest history against a claim, empty when all hold
}

func (f modelFound) String() string {
	reach := fmt.Sprintf("to %d steps", f.depth)
	if f.closed {
		reach = "all there are"
	}
	if f.trace == "" {
		return fmt.Sprintf("%d states, %s", f.states, reach)
	}
	return fmt.Sprintf("%d states until %s:%s", f.states, f.why, f.trace)
}

// explore plays all histories of sc, breadth first.
func explore(sc scenario, rules modelRules) modelFound {
	w := &modelWorld{sc, rules}
	seen := modelSet{seed: maphash.MakeSeed()}
	var parents []int32
	var how []event
	visit := func(s *modelState, parent int32, e event) {
		if seen.add(s) {
			parents = append(parents, parent)
			how = append(how, e)
		}
	}
	first := w.start()
	visit(&first, -1, event{})
	var found modelFound
	var es []event
	for from, to := 0, 1; ; from, to = to, len(seen.states) {
		if from == to {
			found.closed = true
			break
		}
		if sc.depth > 0 && found.depth == sc.depth {
			break
		}
		found.depth++
		for i := from; i < to; i++ {
			s := seen.states[i]
			es = w.events(&s, es[:0])
			for _, e := range es {
				r := w.apply(s, e)
				if r.violation != "" {
					found.states, found.why = len(seen.states), r.violation
					path := []event{e}
					for j := int32(i); parents[j] >= 0; j = parents[j] {
						path = append(path, how[j])
					}
					found.trace = w.tell(path)
					return found
				}
				visit(&r.next, int32(i), e)
			}
		}
	}
	found.states = len(seen.states)
	return found
}

// modelSet is the states that were met, in the order of meeting. A Go map of such large
// keys takes several times the memory.
type modelSet struct {
	seed   maphash.Seed
	states []modelState
	slots  []uint32 // 1 + index into states, 0 for free
}

func (m *modelSet) add(s *modelState) bool {
	if 2*len(m.states) >= len(m.slots) {
		m.slots = make([]uint32, max(1024, 2*len(m.slots)))
		for i := range m.states {
			*m.slot(&m.states[i]) = uint32(i + 1)
		}
	}
	at := m.slot(s)
	if *at != 0 {
		return false
	}
	m.states = append(m.states, *s)
	*at = uint32(len(m.states))
	return true
}

// slot returns where s is, or the free place where it belongs.
func (m *modelSet) slot(s *modelState) *uint32 {
	mask := uint64(len(m.slots) - 1)
	for h := maphash.Comparable(m.seed, *s) & mask; ; h = (h + 1) & mask {
		if m.slots[h] == 0 || m.states[m.slots[h]-1] == *s {
			return &m.slots[h]
		}
	}
}

// tell plays path, which is in reverse, once more and writes it down for people. Tokens are
// named R and their generation, with a letter when there are several of one.
func (w *modelWorld) tell(path []event) string {
	var b strings.Builder
	s := w.start()
	names := []string{"R0"}
	gens := []int{0}
	count := map[int]int{0: 1}
	for n := len(path) - 1; n >= 0; n-- {
		e := path[n]
		r := w.apply(s, e)
		line := e.text(names)
		if r.said != "" {
			line += ": " + r.said
		}
		newNames, newGens := make([]string, r.next.n), make([]int, r.next.n)
		for i, m := range r.moved[:s.n] {
			if m != none && m < r.next.n {
				newNames[m], newGens[m] = names[i], gens[i]
			}
		}
		for i := range newNames {
			if newNames[i] != "" {
				continue
			}
			// A token just minted: one above its parent, which is the head.
			g := newGens[r.next.row.head] + 1
			name := "R" + strconv.Itoa(g)
			if count[g] > 0 {
				name += string(rune('a' + count[g]))
			}
			count[g]++
			newNames[i], newGens[i] = name, g
			line += " " + name
		}
		fmt.Fprintf(&b, "\n  %2d. %s", len(path)-n, line)
		s, names, gens = r.next, newNames, newGens
	}
	return b.String()
}

func (e event) text(names []string) string {
	r := ""
	if e.tok != none {
		r = names[e.tok]
	}
	a := strings.Replace(r, "R", "A", 1)
	at := [...]string{"", " at node A", " at node B"}[e.node]
	switch e.kind {
	case refreshes:
		return "client refreshes with " + r
	case refreshesInVain:
		return "client refreshes with " + r + ", the answer is lost"
	case refreshesSlowly:
		return "client refreshes with " + r + ", the answer takes long"
	case sendsTwice:
		return "client sends another request with " + r + ", which takes long"
	case secondArrives:
		return "client's slow request with " + r + " arrives and is answered"
	case secondArrivesInVain:
		return "client's slow request with " + r + " arrives, its answer goes nowhere"
	case slowArrives:
		return "client gets the slow answer with " + r
	case slowIsLost:
		return "the slow answer with " + r + " is lost"
	case uses:
		return "client uses " + a + at
	case usesInOutage:
		return "client uses " + a + " while the database is out of reach"
	case steals:
		return "thief steals " + r + " and " + a
	case stealsAccess:
		return "thief steals " + a
	case thiefRefreshes:
		return "thief refreshes with " + r
	case thiefUses:
		return "thief uses " + a + at
	case thiefUsesInOutage:
		return "thief uses " + a + " while the database is out of reach"
	case forgetsAll:
		return "client is restarted from " + r
	case windowEnds:
		return "the retry window passes"
	case secondEnds:
		return "a second ends"
	case nodeRestarts:
		return "restart of" + strings.TrimPrefix(at, " at")
	case backupIsTaken:
		return "a backup is taken"
	case backupIsRestored:
		return "the backup is restored"
	}
	return "?"
}

// modelDepth is how many steps to look ahead: depth, or what DOORWARD_TEST_MODEL_DEPTH says.
// Scenarios that are explored to their end stay so.
func modelDepth(t *testing.T, depth int) int {
	t.Helper()
	v := os.Getenv("DOORWARD_TEST_MODEL_DEPTH")
	if v == "" || depth == 0 {
		return depth
	}
	d, err := strconv.Atoi(v)
	if err != nil || d < 1 || d > 100 {
		t.Fatalf("DOORWARD_TEST_MODEL_DEPTH=%q is no number of steps from 1 to 100", v)
	}
	return d
}

// chainIsSound is claimed of every history without a restored database.
const chainIsSound = lineIsOne | neverBackwards | verdictsSettle

// What docs/refresh-chain.md promises.
func TestChainModel(t *testing.T) {
	t.Parallel()
	const honest = staysSignedIn | isServed | chainIsSound
	for name, sc := range map[string]scenario{
		"a serial client that loses answers": {
			window: true, loses: true, nodes: 2, restarts: true, claims: honest | passesForever,
		},
		"a serial client that loses answers, without a window": {
			loses: true, nodes: 2, restarts: true, claims: honest | passesForever,
		},
		"a serial client that uses old access tokens as well": {
			window: true, loses: true, oldAccess: true, nodes: 2, restarts: true, depth: 11, claims: honest,
		},
		"a client that keeps its first token": {
			window: true, keepsFirst: true, loses: true, duplicates: true, threads: true, oldAccess: true, nodes: 2, restarts: true, depth: 11, claims: honest,
		},
		"a client that keeps its first token, without a window": {
			keepsFirst: true, loses: true, duplicates: true, threads: true, oldAccess: true, nodes: 1, depth: 9, claims: honest,
		},
		"two threads that retry within the window": {
			window: true, loses: true, duplicates: true, threads: true, inOrder: true, inTime: true, nodes: 2, restarts: true, claims: honest | passesForever,
		},
		"two threads that retry within the window and use old access tokens": {
			window: true, loses: true, duplicates: true, threads: true, inOrder: true, inTime: true, oldAccess: true, nodes: 1, depth: 12, claims: honest,
		},
		"a thief": {
			window: true, loses: true, thefts: 1, nodes: 1, depth: 12, claims: theftIsBound | chainIsSound,
		},
		"a thief, without a window": {
			loses: true, thefts: 1, nodes: 1, depth: 12, claims: theftIsBound | nothingIsShared | chainIsSound,
		},
		"a thief who comes twice, two nodes that restart": {
			window: true, loses: true, oldAccess: true, thefts: 2, nodes: 2, restarts: true, depth: 9, claims: theftIsBound | chainIsSound,
		},
		"a thief, and a client of two threads with late requests and answers": {
			window: true, loses: true, duplicates: true, threads: true, thefts: 1, nodes: 1, depth: 9, claims: theftIsBound | chainIsSound,
		},
		"a thief, and a client of two threads, without a window": {
			loses: true, duplicates: true, threads: true, thefts: 1, depth: 9, claims: theftIsBound | chainIsSound,
		},
		"a thief of the current refresh token": {
			window: true, loses: true, thefts: 1, steals: currentOnly, nodes: 1, depth: 11, claims: theftIsBound | chainIsSound,
		},
		"a thief of a used refresh token": {
			window: true, loses: true, thefts: 1, steals: usedOnly, nodes: 1, depth: 11, claims: theftIsBound | chainIsSound,
		},
		"a thief of a used refresh token, without a window: bound before it is let in, and at the first rotation": {
			loses: true, thefts: 1, steals: usedOnly, nodes: 1, depth: 11, claims: theftIsBound | unusedIsBound | firstIsBound | nothingIsShared | chainIsSound,
		},
		"a thief of access tokens: the client stays signed in": {
			window: true, oldAccess: true, thefts: 2, steals: accessOnly, nodes: 2, restarts: true, depth: 8, claims: honest,
		},
		"a thief, strictly": {
			window: true, strict: true, loses: true, thefts: 1, nodes: 1, depth: 14, claims: theftIsBound | unusedIsBound | firstIsBound | nothingIsShared | chainIsSound,
		},
		"a client that loses nothing, strictly": {
			window: true, strict: true, nodes: 2, restarts: true, claims: honest | passesForever,
		},
		"a restored backup": {
			window: true, restores: true, nodes: 2, restarts: true, depth: 13, claims: staysSignedIn | newerIsAhead | laterIsAhead | neverBackwards,
		},
		"a restored backup, and old access tokens": {
			window: true, restores: true, oldAccess: true, nodes: 1, depth: 11, claims: staysSignedIn | newerIsAhead | laterIsAhead | neverBackwards,
		},
		"a restored backup, and a client that keeps its first token": {
			window: true, restores: true, keepsFirst: true, loses: true, oldAccess: true, nodes: 1, depth: 12, claims: staysSignedIn | isServed | newerIsAhead | neverBackwards,
		},
		"a restored backup, and lost answers": {
			window: true, restores: true, loses: true, nodes: 2, restarts: true, depth: 11, claims: staysSignedIn | newerIsAhead | neverBackwards,
		},
		"a restored backup, lost answers and old access tokens": {
			window: true, restores: true, loses: true, oldAccess: true, nodes: 1, depth: 10, claims: staysSignedIn | newerIsAhead | neverBackwards,
		},
		"a restored backup, and lost answers, without a window": {
			unhurried: true, restores: true, loses: true, oldAccess: true, nodes: 1, depth: 11, claims: staysSignedIn | newerIsAhead | neverBackwards,
		},
		"a restored backup, and two threads that retry within the window": {
			window: true, restores: true, loses: true, duplicates: true, threads: true, inOrder: true, inTime: true, nodes: 1, depth: 11, claims: staysSignedIn | newerIsAhead | neverBackwards,
		},
		"a restored backup, strictly": {
			window: true, strict: true, restores: true, oldAccess: true, nodes: 1, depth: 11, claims: staysSignedIn | newerIsAhead | laterIsAhead | neverBackwards,
		},
		"a restored backup, and a thief who comes or comes again": {
			window: true, restores: true, loses: true, stopped: true, thefts: 1, nodes: 1, depth: 9, claims: theftIsBound | newerIsAhead | neverBackwards,
		},
		"a restored backup, and a thief and a client that are both late": {
			window: true, restores: true, loses: true, duplicates: true, threads: true, stopped: true, thefts: 1, nodes: 1, depth: 8, claims: theftIsBound | newerIsAhead | neverBackwards,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc.depth = modelDepth(t, sc.depth)
			found := explore(sc, realRules())
			t.Log(found)
			if found.trace != "" {
				t.Error("a promise does not hold")
			}
		})
	}
}

// What is not promised, each with the history that the model finds against it. When one of
// these holds after all, the documentation promises too little.
func TestChainModelLimits(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]scenario{
		"a client restarted from its first token after rotating in memory": {
			window: true, forgets: true, claims: staysSignedIn,
		},
		"a retry that arrives when its successor was presented already": {
			window: true, duplicates: true, inTime: true, claims: staysSignedIn,
		},
		"a request that arrives after the window, when the client has its answer": {
			window: true, duplicates: true, inOrder: true, claims: staysSignedIn,
		},
		"a request repeated after the window, while the first answer is still to come": {
			window: true, threads: true, inOrder: true, claims: staysSignedIn,
		},
		"an old access token after an answer was lost: refused, the session lives": {
			window: true, loses: true, oldAccess: true, claims: passesForever,
		},
		"a thief who does not use the access token": {
			window: true, thefts: 1, claims: unusedIsBound,
		},
		"a thief who makes the first rotation": {
			window: true, thefts: 1, claims: firstIsBound,
		},
		"a thief who has an access token only": {
			window: true, thefts: 1, steals: accessOnly, claims: accessIsBound,
		},
		"a thief who refreshes within the window of the client": {
			window: true, thefts: 1, claims: nothingIsShared,
		},
		"a thief let in while the database is out of reach": {
			window: true, thefts: 1, outages: true, claims: theftIsBound,
		},
		"a lost answer, strictly": {
			window: true, strict: true, loses: true, claims: staysSignedIn,
		},
		"an answer lost before the backup, and the next, without a window, in the same second": {
			loses: true, restores: true, claims: staysSignedIn,
		},
		"a request from before the restore that arrives after it": {
			window: true, duplicates: true, restores: true, claims: staysSignedIn,
		},
		"a client whose refresh token is newer than the restored row": {
			window: true, restores: true, claims: isServed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc.depth = 12
			found := explore(sc, realRules())
			t.Log(found)
			if found.trace == "" || strings.HasPrefix(found.why, malformed) {
				t.Error("no history is found against it: the documentation promises too little, or the model sees too little")
			}
		})
	}
}

// The model can fail: each rule broken on purpose breaks a promise that the real one keeps.
func TestChainModelCanFail(t *testing.T) {
	t.Parallel()
	thief := scenario{window: true, loses: true, thefts: 1, nodes: 1, depth: 12, claims: theftIsBound}
	serial := scenario{window: true, loses: true, nodes: 1, depth: 12, claims: staysSignedIn}
	threads := scenario{window: true, duplicates: true, threads: true, inOrder: true, inTime: true, nodes: 1, depth: 12, claims: staysSignedIn}
	old := scenario{window: true, loses: true, oldAccess: true, depth: 12, claims: staysSignedIn}
	sound := scenario{window: true, loses: true, thefts: 1, depth: 12, claims: chainIsSound}
	first := scenario{window: true, keepsFirst: true, depth: 12, claims: staysSignedIn}
	restore := scenario{window: true, restores: true, oldAccess: true, depth: 12, claims: staysSignedIn}
	lost := scenario{window: true, restores: true, loses: true, oldAccess: true, depth: 10, claims: staysSignedIn}
	thiefLater := scenario{window: true, restores: true, loses: true, stopped: true, thefts: 1, nodes: 1, depth: 8, claims: theftIsBound | newerIsAhead | neverBackwards}

	type chain = doorward.Chain
	presenting := func(change func(c, next chain, jti string, outcome doorward.Presentation) (chain, doorward.Presentation)) modelRules {
		r := realRules()
		r.present = func(c chain, jti string, gen, iat int64, now time.Time, rules doorward.RefreshRules, newID func() string) (chain, doorward.Presentation) {
			next, outcome := c.Present(jti, gen, iat, now, rules, newID)
			return change(c, next, jti, outcome)
		}
		return r
	}
	confirming := func(change func(c, next chain, rjti string, gen int64, outcome doorward.Confirmation) (chain, doorward.Confirmation)) modelRules {
		r := realRules()
		r.confirm = func(c chain, rjti string, gen, iat int64) (chain, doorward.Confirmation) {
			next, outcome := c.Confirm(rjti, gen, iat)
			return change(c, next, rjti, gen, outcome)
		}
		return r
	}
	insteadOf := func(from, to doorward.Confirmation) modelRules {
		return confirming(func(c, next chain, _ string, _ int64, outcome doorward.Confirmation) (chain, doorward.Confirmation) {
			if outcome == from {
				return c, to
			}
			return next, outcome
		})
	}

	for name, row := range map[string]struct {
		rules modelRules
		sc    scenario
		why   string
	}{
		"one-time rotation": {oneTimeRules(), serial, "a refresh token was taken for reused"},
		"a grace window":    {graceRules(), serial, "a refresh token was taken for reused"},
		"a fork that is not marked": {
			presenting(func(_, next chain, _ string, outcome doorward.Presentation) (chain, doorward.Presentation) {
				next.Fork = 0
				return next, outcome
			}),
			thief, "the thief had refreshed and been let in",
		},
		"a fork that is not looked at": {insteadOf(doorward.Stale, doorward.Passes), thief, "the thief had refreshed and been let in"},
		"stale taken for reuse":        {insteadOf(doorward.Stale, doorward.AccessReused), old, "an access token was taken for reused"},
		"a branch given up that passes": {
			insteadOf(doorward.AccessReused, doorward.Passes), thief, "the thief had refreshed and been let in",
		},
		"nothing confirmed": {insteadOf(doorward.Confirms, doorward.Passes), thief, "the thief had refreshed and been let in"},
		"generation 1 confirmed": {
			confirming(func(c, next chain, rjti string, gen int64, outcome doorward.Confirmation) (chain, doorward.Confirmation) {
				if gen == 1 && rjti == c.Child {
					return chain{Prev: c.Head, Head: c.Child, Gen: 1, Fork: c.Fork, Minted: c.Minted}, doorward.Confirms
				}
				return next, outcome
			}),
			first, "a refresh token was taken for reused",
		},
		"a retry after the confirmation taken for reuse": {
			presenting(func(c, next chain, jti string, outcome doorward.Presentation) (chain, doorward.Presentation) {
				if jti == c.Prev {
					return c, doorward.Reused
				}
				return next, outcome
			}),
			threads, "a refresh token was taken for reused",
		},
		"a retry that gets another token": {
			modelRules{
				func(c chain, jti string, gen, iat int64, now time.Time, _ doorward.RefreshRules, newID func() string) (chain, doorward.Presentation) {
					return c.Present(jti, gen, iat, now, doorward.RefreshRules{}, newID)
				},
				chain.Confirm,
			},
			threads, "a refresh token was taken for reused",
		},
		"a replaced token that is answered": {
			presenting(func(_, next chain, _ string, outcome doorward.Presentation) (chain, doorward.Presentation) {
				if outcome == doorward.Reused {
					outcome = doorward.Repeated
				}
				return next, outcome
			}),
			sound, "a replaced token was answered",
		},
		"a head that forgets where it came from": {
			presenting(func(c, next chain, jti string, outcome doorward.Presentation) (chain, doorward.Presentation) {
				if jti == c.Child {
					next.Prev = c.Prev
				}
				return next, outcome
			}),
			sound, "the head moved to a token that is not its only successor",
		},
		"a refresh token newer than the row taken for reuse": {
			presenting(func(_, next chain, _ string, outcome doorward.Presentation) (chain, doorward.Presentation) {
				if outcome == doorward.Backwards {
					outcome = doorward.Reused
				}
				return next, outcome
			}),
			restore, "a refresh token was taken for reused",
		},
		"an access token newer than the row taken for reuse": {
			insteadOf(doorward.Ahead, doorward.AccessReused), restore, "an access token was taken for reused",
		},
		"a refresh token's time of issue not looked at": {
			modelRules{
				func(c chain, jti string, gen, _ int64, now time.Time, rules doorward.RefreshRules, newID func() string) (chain, doorward.Presentation) {
					return c.Present(jti, gen, 0, now, rules, newID)
				},
				chain.Confirm,
			},
			lost, "a refresh token was taken for reused",
		},
		"an access token's time of issue not looked at": {
			modelRules{chain.Present, func(c chain, rjti string, gen, _ int64) (chain, doorward.Confirmation) {
				return c.Confirm(rjti, gen, 0)
			}},
			lost, "an access token was taken for reused",
		},
		"a refresh token of the same second taken for newer": {
			modelRules{
				func(c chain, jti string, gen, iat int64, now time.Time, rules doorward.RefreshRules, newID func() string) (chain, doorward.Presentation) {
					return c.Present(jti, gen, iat+1, now, rules, newID)
				},
				chain.Confirm,
			},
			thiefLater, "behind a token that it knew",
		},
		"an access token of the same second taken for newer": {
			modelRules{chain.Present, func(c chain, rjti string, gen, iat int64) (chain, doorward.Confirmation) {
				return c.Confirm(rjti, gen, iat+1)
			}},
			thiefLater, "behind a token that it knew",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := explore(row.sc, realRules()); found.trace != "" {
				t.Fatalf("the real rules fail already: %s", found)
			}
			found := explore(row.sc, row.rules)
			t.Log(found)
			if found.trace == "" || !strings.Contains(found.why, row.why) {
				t.Errorf("the model did not notice; want a history against %q", row.why)
			}
		})
	}
}

// passAll is a door that tells the refresh chain nothing.
func passAll(c doorward.Chain, _ string, _, _ int64) (doorward.Chain, doorward.Confirmation) {
	return c, doorward.Passes
}

// oneTimeRules are those of one-time rotation: every token is good once.
func oneTimeRules() modelRules {
	return modelRules{
		func(c doorward.Chain, jti string, gen, iat int64, now time.Time, r doorward.RefreshRules, newID func() string) (doorward.Chain, doorward.Presentation) {
			r.Strict = true
			return c.Present(jti, gen, iat, now, r, newID)
		},
		passAll,
	}
}

// graceRules are those of one-time rotation with a grace window, at their best: within the
// window the same successor is handed out again, afterwards the token is a replaced one.
func graceRules() modelRules {
	return modelRules{
		func(c doorward.Chain, jti string, gen, iat int64, now time.Time, r doorward.RefreshRules, newID func() string) (doorward.Chain, doorward.Presentation) {
			if c.Child != "" && jti == c.Head && now.Sub(c.Minted) >= r.RetryWindow {
				return c, doorward.Reused
			}
			return c.Present(jti, gen, iat, now, r, newID)
		},
		passAll,
	}
}

// The comparison in docs/refresh-chain.md is what the model says of the three.
func TestChainModelCompares(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("docs/refresh-chain.md")
	if err != nil {
		t.Fatal(err)
	}
	honest := staysSignedIn | isServed
	for promise, sc := range map[string]scenario{
		"answers lost, asked for again within the window: the client stays signed in":  {loses: true, quick: true, claims: honest},
		"answers lost, asked for again later: the client stays signed in":              {loses: true, claims: honest},
		"several requests with one token at once: the client stays signed in":          {duplicates: true, threads: true, inOrder: true, inTime: true, claims: honest},
		"a client that never adopts a new refresh token works":                         {keepsFirst: true, claims: honest},
		"a thief refreshed and was let in: the client's next refresh ends the session": {loses: true, thefts: 1, claims: theftIsBound},
		"a thief refreshed and was not let in yet: the same":                           {loses: true, thefts: 1, claims: unusedIsBound},
		"a thief made the first rotation and was let in: the same":                     {loses: true, thefts: 1, claims: firstIsBound},
		"thief and client never get the same answer":                                   {loses: true, thefts: 1, claims: nothingIsShared},
		"answers lost, then an older backup restored: the client is not signed out":    {loses: true, restores: true, claims: staysSignedIn},
	} {
		sc.window, sc.depth = true, 10
		line := "| " + promise + " |"
		for _, rules := range []modelRules{oneTimeRules(), graceRules(), realRules()} {
			holds := " yes |"
			if explore(sc, rules).trace != "" {
				holds = " no |"
			}
			line += holds
		}
		if !strings.Contains(string(doc), line+"\n") {
			t.Errorf("docs/refresh-chain.md must say\n%s", line)
		}
	}
}
