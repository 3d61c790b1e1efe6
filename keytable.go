package doorward

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// keyTable is what a node knows of the keys made at run time: every request that shows one
// asks it, and no request waits for another. A key is found by the SHA-256 of what was
// shown, and what it grants lies beside the hash.
//
//	table ── row, by the first bits of the hash (4,096, each replaced whole by who changes it)
//	           └─ slots in order of probing: hash, id, grant, owner, until when
//	                                                      └─ what the owner is now, one for all of their keys
//
// The hash is as good as random and nobody chooses it, so it needs no hashing again. Rows
// are small, and so is what a change copies: of a million keys some 25 KB. One map for all
// would have to be copied, or locked, whole; one that is locked for writing makes readers
// wait for whoever writes.
type keyTable struct {
	rows [1 << keyRowBits]atomic.Pointer[keyRow] // nil when empty
	size atomic.Int64

	// nextStop is when the earliest overlap of a rotation ends, in Unix milliseconds; 0 for
	// none. It is a hint: the store decides.
	nextStop atomic.Int64

	mu     sync.Mutex // held by who changes the table, while reading what to change it to
	owners map[string]*keyOwner
	grants map[keyGrant]*keyGrant
}

const keyRowBits = 12

// keyRow is a table with linear probing, of which a quarter is free. It never changes but
// for the times of last use.
type keyRow struct {
	slots []keyEntry
	used  int
}

type keyEntry struct {
	hash  SecretHash
	id    string
	grant *keyGrant // nil for an empty slot
	owner *keyOwner // nil for a service key
	stops int64     // Unix milliseconds from which it is no longer good; 0 for never
	noted uint32    // the minute of the last use that was noted; atomic, since it alone changes
}

// keyGrant is shared by all keys that grant the same.
type keyGrant struct {
	role           Role
	org, workspace string
}

// keyOwner is shared by all keys of an owner.
type keyOwner struct {
	is atomic.Pointer[keyOwnerState] // nil: not a user (any more)
}

type keyOwnerState struct {
	role       Role
	org        string
	workspaces Workspaces
	disabled   bool
	version    int64
}

// KeyRecord is what a node keeps of a key.
type KeyRecord struct {
	ID           string
	Hash         SecretHash
	Role         Role
	Org          string
	Workspace    string
	Owner        string // empty for a service key
	Expires      time.Time
	OverlapUntil time.Time
	Revoked      bool
}

// find returns the entry of the key whose hash is h, or nil.
func (t *keyTable) find(h *SecretHash) *keyEntry {
	first := binary.BigEndian.Uint64(h[:8])
	r := t.rows[first>>(64-keyRowBits)].Load()
	if r == nil {
		return nil
	}
	return r.find(h, first)
}

func (r *keyRow) find(h *SecretHash, first uint64) *keyEntry {
	for i := keyPlace(first, len(r.slots)); ; i++ {
		if i == len(r.slots) {
			i = 0
		}
		e := &r.slots[i]
		if e.hash == *h && e.grant != nil {
			return e
		}
		if e.grant == nil {
			return nil
		}
	}
}

// keyPlace is where among n slots the search for a hash that begins with first begins.
func keyPlace(first uint64, n int) int {
	hi, _ := bits.Mul64(first<<keyRowBits, uint64(n))
	return int(hi)
}

// newKeyRow makes a row of entries that have different hashes; nil of none.
func newKeyRow(entries []keyEntry) *keyRow {
	if len(entries) == 0 {
		return nil
	}
	r := &keyRow{slots: make([]keyEntry, len(entries)+len(entries)/3+1), used: len(entries)}
	for i := range entries {
		e := &entries[i]
		at := keyPlace(binary.BigEndian.Uint64(e.hash[:8]), len(r.slots))
		for r.slots[at].grant != nil {
			if at++; at == len(r.slots) {
				at = 0
			}
		}
		r.slots[at] = keyEntry{hash: e.hash, id: e.id, grant: e.grant, owner: e.owner, stops: e.stops, noted: atomic.LoadUint32(&e.noted)}
	}
	return r
}

// entries are copies of what is in r, but the one with the hash skip.
func (r *keyRow) entries(skip *SecretHash) []keyEntry {
	if r == nil {
		return nil
	}
	all := make([]keyEntry, 0, r.used+1)
	for i := range r.slots {
		if e := &r.slots[i]; e.grant != nil && e.hash != *skip {
			all = append(all, keyEntry{hash: e.hash, id: e.id, grant: e.grant, owner: e.owner, stops: e.stops, noted: atomic.LoadUint32(&e.noted)})
		}
	}
	return all
}

// set puts the key in, in the place of what was known of it. It is called with mu held.
func (t *keyTable) set(k KeyRecord) {
	e := t.entry(k)
	row := &t.rows[binary.BigEndian.Uint64(k.Hash[:8])>>(64-keyRowBits)]
	was := row.Load()
	next := newKeyRow(append(was.entries(&k.Hash), e))
	row.Store(next)
	t.size.Add(int64(next.used))
	if was != nil {
		t.size.Add(int64(-was.used))
	}
}

// remove takes a key out. It is called with mu held.
func (t *keyTable) remove(h SecretHash) {
	row := &t.rows[binary.BigEndian.Uint64(h[:8])>>(64-keyRowBits)]
	was := row.Load()
	if was == nil || was.find(&h, binary.BigEndian.Uint64(h[:8])) == nil {
		return
	}
	row.Store(newKeyRow(was.entries(&h)))
	t.size.Add(-1)
}

// removeID takes a key out of which the hash is not known any more: its row has been
// deleted. It looks at all keys, which is a few milliseconds and next to never. It is called with mu held.
func (t *keyTable) removeID(id string) {
	for i := range t.rows {
		if r := t.rows[i].Load(); r != nil {
			for j := range r.slots {
				if e := &r.slots[j]; e.grant != nil && e.id == id {
					t.remove(e.hash)
					return
				}
			}
		}
	}
}

// stop lets a key be good no longer than until. It is called with mu held.
func (t *keyTable) stop(h SecretHash, until time.Time) {
	row := &t.rows[binary.BigEndian.Uint64(h[:8])>>(64-keyRowBits)]
	all := row.Load().entries(new(SecretHash))
	for i := range all {
		if ms := until.UnixMilli(); all[i].hash == h && (all[i].stops == 0 || ms < all[i].stops) {
			all[i].stops = ms
			row.Store(newKeyRow(all))
			t.stopsAt(ms)
			return
		}
	}
}

func (t *keyTable) stopsAt(ms int64) {
	if next := t.nextStop.Load(); next == 0 || ms < next {
		t.nextStop.Store(ms)
	}
}

// entry makes the entry of k. It is called with mu held.
func (t *keyTable) entry(k KeyRecord) keyEntry {
	g := keyGrant{k.Role, k.Org, k.Workspace}
	grant := t.grants[g]
	if grant == nil {
		if t.grants == nil {
			t.grants = map[keyGrant]*keyGrant{}
		}
		grant = &g
		t.grants[g] = grant
	}
	e := keyEntry{hash: k.Hash, id: k.ID, grant: grant}
	if k.Owner != "" {
		e.owner = t.owner(k.Owner)
	}
	if stops := (Key{Expires: k.Expires, OverlapUntil: k.OverlapUntil}).Stops(); !stops.IsZero() {
		e.stops = stops.UnixMilli()
	}
	if !k.OverlapUntil.IsZero() {
		t.stopsAt(k.OverlapUntil.UnixMilli())
	}
	return e
}

// owner returns what the keys of user id share. It is called with mu held.
func (t *keyTable) owner(id string) *keyOwner {
	o := t.owners[id]
	if o == nil {
		if t.owners == nil {
			t.owners = map[string]*keyOwner{}
		}
		o = new(keyOwner)
		t.owners[id] = o
	}
	return o
}

// setOwner keeps what u is now, if there are keys of theirs. It is called with mu held.
func (t *keyTable) setOwner(u User) {
	if o := t.owners[u.ID]; o != nil {
		o.is.Store(&keyOwnerState{role: u.Role, org: u.Org, workspaces: JoinWorkspaces(u.Workspaces), disabled: u.Disabled, version: u.Version})
	}
}

// orphan takes out the keys of o in workspaces that the owner is no member of: they are dead
// for good, whatever the owner becomes next. It looks at all keys. It is called with mu held.
func (t *keyTable) orphan(o *keyOwner) {
	var dead []SecretHash
	is := o.is.Load()
	for i := range t.rows {
		if r := t.rows[i].Load(); r != nil {
			for j := range r.slots {
				if e := &r.slots[j]; e.owner == o && !is.workspaces.Has(e.grant.workspace) {
					dead = append(dead, e.hash)
				}
			}
		}
	}
	for _, h := range dead {
		t.remove(h)
	}
}

// within reports whether all of w are in others.
func (w Workspaces) within(others Workspaces) bool {
	for _, id := range w.List() {
		if !others.Has(id) {
			return false
		}
	}
	return true
}

// identity is who shows the key at the time now, or why it is no good.
func (e *keyEntry) identity(now time.Time) (Identity, error) {
	g := e.grant
	role := g.role
	if e.owner != nil {
		is := e.owner.is.Load()
		if is == nil || is.disabled || is.org != g.org || !is.workspaces.Has(g.workspace) {
			return Identity{}, ErrInvalidToken
		}
		role = MinRole(role, is.role)
	}
	if e.stops != 0 && now.UnixMilli() >= e.stops {
		return Identity{}, ErrTokenExpired
	}
	return Identity{
		Kind: KindKey, Subject: e.id, Role: role, Org: g.org, Workspaces: Workspaces(g.workspace), Credential: e.id, Via: ViaSecret,
	}, nil
}

// note reports whether the use of the key at the time now is the first in its minute.
func (e *keyEntry) note(now time.Time) bool {
	minute := uint32(now.Unix() / 60)
	was := atomic.LoadUint32(&e.noted)
	return was != minute && atomic.CompareAndSwapUint32(&e.noted, was, minute)
}

// keyLoad gathers all keys and owners, to take the place of a table's.
type keyLoad struct {
	fresh keyTable // its owners and grants; its rows are not used
	rows  [1 << keyRowBits][]keyEntry
	size  int64
}

func (l *keyLoad) add(k KeyRecord) {
	i := binary.BigEndian.Uint64(k.Hash[:8]) >> (64 - keyRowBits)
	l.rows[i] = append(l.rows[i], l.fresh.entry(k))
	l.size++
}

// replace lets t hold what l has gathered and nothing else. It is called with t's mu held.
func (t *keyTable) replace(l *keyLoad) {
	t.owners, t.grants = l.fresh.owners, l.fresh.grants
	t.nextStop.Store(l.fresh.nextStop.Load())
	for i := range l.rows {
		t.rows[i].Store(newKeyRow(l.rows[i]))
		l.rows[i] = nil
	}
	t.size.Store(l.size)
}
