package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"doorward"
)

// keyOf is a key to be; of nobody, a service key.
func (k *kit) keyOf(owner string) doorward.Key {
	id := k.id("key_")
	return doorward.Key{
		ID: id, Prefix: "brk_" + id[4:], Name: "Key " + id, Role: doorward.Editor, Org: doorward.Default, Workspace: doorward.Default, Owner: owner,
		Created: time.Unix(1_700_000_000, 123_000_000),
	}
}

// newKey keeps a key.
func (k *kit) newKey(owner string) doorward.KeyState {
	k.Helper()
	key := k.keyOf(owner)
	made, err := k.CreateKey(k.ctx(), key, doorward.HashSecret(key.ID), 1000, agree, entry("key.create"))
	k.ok(err)
	return made
}

// keySession is a session made with a key that is good.
func (k *kit) keySession(key string) (doorward.Session, error) {
	var made doorward.Session
	found, err := k.CreateKeySession(k.ctx(), key, 1000, func(at doorward.KeyState, now time.Time) (doorward.Session, error) {
		if err := at.Good(now); err != nil {
			return doorward.Session{}, err
		}
		made = k.machine(key, "", now)
		made.Configured = false
		return made, nil
	}, entry("session.create"))
	if err == nil && !found {
		err = doorward.ErrInvalidToken
	}
	return made, err
}

func (k *kit) knownKey(id string) doorward.KeyState {
	k.Helper()
	got, found, err := k.Key(k.ctx(), id)
	k.ok(err)
	if !found {
		k.Fatalf("key %s is not found", id)
	}
	return got
}

func anyKey(doorward.KeyState) error { return nil }

// rotating says that a key is rotated to id.
func rotating(id string, overlap time.Duration) func(doorward.KeyState, time.Time) (doorward.KeyRotation, error) {
	return func(old doorward.KeyState, now time.Time) (doorward.KeyRotation, error) {
		return old.Rotation(id, "brk_"+id, doorward.HashSecret(id), now, overlap)
	}
}

func sameKey(a, b doorward.Key) bool {
	return a.ID == b.ID && a.Prefix == b.Prefix && a.Name == b.Name && a.Role == b.Role && a.Org == b.Org && a.Workspace == b.Workspace && a.Owner == b.Owner &&
		slices.Equal(a.ClientIDs, b.ClientIDs) && sameTime(a.Created, b.Created) && sameTime(a.Expires, b.Expires) && sameTime(a.LastUsed, b.LastUsed) &&
		sameTime(a.Revoked, b.Revoked) && a.RotatedTo == b.RotatedTo && sameTime(a.OverlapUntil, b.OverlapUntil)
}

// changesOf are the targets of the changes of a kind after a number.
func (k *kit) changesOf(what doorward.ChangeKind, after int64) (targets []string) {
	k.Helper()
	for _, c := range k.changes(after) {
		if c.What == what {
			targets = append(targets, c.Target)
		}
	}
	return targets
}

func (k *kit) lastChange() int64 {
	k.Helper()
	last, err := k.LastChange(k.ctx())
	k.ok(err)
	return last
}

var keyTests = []test{
	{"a key is kept as created, and its owner beside it", func(k *kit) {
		u := k.user("anna")
		want := k.keyOf(u.ID)
		want.ClientIDs, want.Expires, want.Name = []string{"a", "b"}, time.Unix(1_900_000_000, 0), "Ünïque 😀"
		hash := doorward.HashSecret("x")
		made, err := k.CreateKey(k.ctx(), want, hash, 1, func(owner doorward.User) error {
			if !sameUser(owner, u) {
				k.Errorf("asked about %+v", owner)
			}
			return nil
		}, entry("key.create"))
		k.ok(err)
		for _, got := range []doorward.KeyState{made, k.knownKey(want.ID)} {
			if !sameKey(got.Key, want) || got.Hash != hash || got.Holder.ID != u.ID || got.Holder.Username != "anna" || got.Holder.Role != u.Role || !slices.Equal(got.Holder.Workspaces, u.Workspaces) {
				k.Errorf("got %+v, want %+v", got, want)
			}
		}
		if got := k.newKey(""); !got.Service() || got.Holder.ID != "" || got.ClientIDs != nil {
			k.Errorf("a service key: %+v", got)
		}
		if _, found, err := k.Key(k.ctx(), "key_none"); found || err != nil {
			k.Errorf("found %v, error %v", found, err)
		}
	}},
	{"the first key sets the mark, and its end does not take it back", func(k *kit) {
		made := k.newKey("")
		for i, want := range []doorward.State{{Initialised: true, HasKeys: true}, {Initialised: true}} {
			if st, err := k.State(k.ctx()); err != nil || st != want {
				k.Errorf("%d: got %+v, %v, want %+v", i, st, err, want)
			}
			_, _, _, err := k.RevokeKey(k.ctx(), made.ID, anyKey, entry("key.revoke"))
			k.ok(err)
		}
	}},
	{"what cannot be is refused and leaves nothing", func(k *kit) {
		u := k.user("anna")
		last := k.lastChange()
		create := func(change func(key *doorward.Key), limit int, check func(doorward.User) error) error {
			key := k.keyOf(u.ID)
			change(&key)
			_, err := k.CreateKey(k.ctx(), key, doorward.HashSecret(key.ID), limit, check, entry("key.create"))
			if _, found, readErr := k.Key(k.ctx(), key.ID); found && err != nil || readErr != nil {
				k.Errorf("found %v, error %v", found, readErr)
			}
			return err
		}
		k.refused(create(func(key *doorward.Key) { key.Workspace = "nowhere" }, 10, agree), doorward.CodeInvalid)
		k.refused(create(func(key *doorward.Key) { key.Owner = "usr_none" }, 10, agree), doorward.CodeInvalid)
		if err := create(func(*doorward.Key) {}, 10, func(doorward.User) error { return errMine }); !errors.Is(err, errMine) {
			k.Errorf("got %v", err)
		}
		if got := k.changes(last); len(got) > 0 {
			k.Errorf("got %v", got)
		}
		k.state(true, true)
		k.ok(create(func(*doorward.Key) {}, 1, agree))
		k.refused(create(func(*doorward.Key) {}, 1, agree), doorward.CodeConflict)
	}},
	{"a revoked key is gone, with the sessions made with it and no others", func(k *kit) {
		u := k.user("anna")
		key, other := k.newKey(u.ID), k.newKey(u.ID)
		s, err := k.keySession(key.ID)
		k.ok(err)
		stays, err := k.keySession(other.ID)
		k.ok(err)
		last := k.lastChange()
		if _, _, _, err := k.RevokeKey(k.ctx(), key.ID, func(at doorward.KeyState) error {
			if !sameKey(at.Key, key.Key) || at.Holder.ID != u.ID {
				k.Errorf("asked about %+v", at)
			}
			return errMine
		}, entry("key.revoke")); !errors.Is(err, errMine) {
			k.Errorf("got %v", err)
		}
		if got := k.changes(last); len(got) > 0 {
			k.Errorf("a refusal changes %v", got)
		}
		got, ended, found, err := k.RevokeKey(k.ctx(), key.ID, anyKey, entry("key.revoke"))
		k.ok(err)
		if !found || got.Hash != key.Hash || got.Revoked.IsZero() || len(ended) != 1 || ended[0].ID != s.ID {
			k.Errorf("found %v, %+v, ended %v", found, got, ended)
		}
		if got := k.changesOf(doorward.KeyChanged, last); !slices.Equal(got, []string{key.ID}) {
			k.Errorf("the feed says %v", got)
		}
		if got := k.changesOf(doorward.SessionEnded, last); !slices.Equal(got, []string{s.ID}) {
			k.Errorf("the feed says %v", got)
		}
		if k.session(s.ID).EndReason != doorward.EndKeyRevoked || !k.session(stays.ID).Ended.IsZero() {
			k.Error("not the session of that key")
		}
		for range 2 {
			if _, _, found, err := k.RevokeKey(k.ctx(), key.ID, anyKey, entry("key.revoke")); found || err != nil {
				k.Errorf("again: found %v, error %v", found, err)
			}
			if _, _, _, found, err := k.RotateKey(k.ctx(), key.ID, rotating("key_x", 0), entry("key.rotate")); found || err != nil {
				k.Errorf("rotated: found %v, error %v", found, err)
			}
		}
		if _, err := k.keySession(key.ID); !errors.Is(err, doorward.ErrInvalidToken) {
			k.Errorf("a session of a revoked key: %v", err)
		}
	}},
	{"the owner's changes are the keys'", func(k *kit) {
		for name, c := range map[string]struct {
			do    func(u doorward.User) error
			ended bool // for ever
		}{
			"disabled": {func(u doorward.User) error {
				_, _, _, err := k.ChangeUser(k.ctx(), u.ID, disable, entry("user.change"))
				return err
			}, false},
			"moved": {func(u doorward.User) error {
				_, _, _, err := k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
					u.Workspaces = nil
					return u, nil
				}, entry("user.change"))
				return err
			}, true},
			"deleted": {func(u doorward.User) error {
				_, _, err := k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
				return err
			}, true},
			"reset": {func(u doorward.User) error {
				_, _, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashTwo, Reason: "x"}, agree, entry("user.password"))
				return err
			}, false},
		} {
			u := k.user(name)
			key, service := k.newKey(u.ID), k.newKey("")
			s, err := k.keySession(key.ID)
			k.ok(err)
			kept, err := k.keySession(service.ID)
			k.ok(err)
			last := k.lastChange()
			k.ok(c.do(u))
			if got := k.session(s.ID); got.Ended.IsZero() {
				k.Errorf("%s: the session of the key lives on", name)
			}
			if !k.session(kept.ID).Ended.IsZero() {
				k.Errorf("%s: that of a service key does not", name)
			}
			if got := k.changesOf(doorward.OwnerChanged, last); !slices.Equal(got, []string{u.ID}) {
				k.Errorf("%s: the feed says of owners %v", name, got)
			}
			got, found, err := k.Key(k.ctx(), key.ID)
			k.ok(err)
			if dead := !found || !got.Revoked.IsZero(); dead != c.ended {
				k.Errorf("%s: dead for good %v, want %v", name, dead, c.ended)
			}
			if name == "moved" && !slices.Equal(k.changesOf(doorward.KeyChanged, last), []string{key.ID}) {
				k.Errorf("%s: the feed says of keys %v", name, k.changesOf(doorward.KeyChanged, last))
			}
		}
		// Of who has no key the feed says nothing.
		u, last := k.user("nobody"), k.lastChange()
		_, _, _, err := k.ChangeUser(k.ctx(), u.ID, disable, entry("user.change"))
		k.ok(err)
		if got := k.changes(last); len(got) > 0 {
			k.Errorf("got %v", got)
		}
	}},
	{"a refresh is decided on the key and the owner as they are", func(k *kit) {
		u := k.user("anna")
		key, service := k.newKey(u.ID), k.newKey("")
		at := func(session string) (state doorward.RefreshState) {
			k.Helper()
			k.decide(session, func(s doorward.RefreshState) doorward.RefreshDecision {
				state = s
				return doorward.RefreshDecision{}
			})
			return state
		}
		s, err := k.keySession(key.ID)
		k.ok(err)
		if got := at(s.ID).Key; got == nil || !sameKey(got.Key, key.Key) || got.Holder.ID != u.ID || got.Holder.Role != u.Role {
			k.Errorf("of an owner: %+v", got)
		}
		s2, err := k.keySession(service.ID)
		k.ok(err)
		if got := at(s2.ID).Key; got == nil || got.ID != service.ID || got.Holder.ID != "" {
			k.Errorf("of a service key: %+v", got)
		}
		configured := k.exchange(key.ID, "editor")
		if got := at(configured.ID).Key; got != nil {
			k.Errorf("of a configured credential: %+v", got)
		}
		if got := at(k.signIn(u).ID).Key; got != nil {
			k.Errorf("of a person: %+v", got)
		}
	}},
	{"rotation keeps the terms, and the old key for its overlap", func(k *kit) {
		u := k.user("anna")
		key := k.keyOf(u.ID)
		key.ClientIDs, key.Expires = []string{"a"}, k.now().Add(48*time.Hour)
		_, err := k.CreateKey(k.ctx(), key, doorward.HashSecret(key.ID), 10, agree, entry("key.create"))
		k.ok(err)
		s, err := k.keySession(key.ID)
		k.ok(err)
		last := k.lastChange()
		old, next, ended, found, err := k.RotateKey(k.ctx(), key.ID, rotating("key_next", time.Hour), entry("key.rotate"))
		k.ok(err)
		want := key
		want.ID, want.Prefix, want.Created = "key_next", "brk_key_next", next.Created
		if !found || len(ended) > 0 || !sameKey(next.Key, want) || next.Hash != doorward.HashSecret("key_next") || next.Holder.ID != u.ID {
			k.Errorf("found %v, ended %v, %+v, want %+v", found, ended, next, want)
		}
		if kept := k.knownKey(key.ID); !sameKey(kept.Key, old.Key) || old.RotatedTo != next.ID || !old.Revoked.IsZero() || !old.Stops().Equal(old.OverlapUntil) {
			k.Errorf("the old one: %+v, kept %+v", old, kept)
		}
		if got := k.session(s.ID); !got.Ended.IsZero() || !sameTime(got.Ends, old.OverlapUntil) {
			k.Errorf("its session ends at %v, want %v", got.Ends, old.OverlapUntil)
		}
		got := k.changesOf(doorward.KeyChanged, last)
		slices.Sort(got)
		if !slices.Equal(got, []string{key.ID, "key_next"}) {
			k.Errorf("the feed says %v", got)
		}
		_, _, _, _, err = k.RotateKey(k.ctx(), key.ID, rotating("key_again", time.Hour), entry("key.rotate"))
		k.refused(err, doorward.CodeConflict)
		if ended, until, err := k.EndStoppedKeys(k.ctx(), entry("key.revoke")); err != nil || len(ended) > 0 || !sameTime(until, old.OverlapUntil) {
			k.Errorf("during the overlap: ended %v, next at %v, error %v", ended, until, err)
		}
		k.advance(time.Hour)
		last = k.lastChange()
		ended, until, err := k.EndStoppedKeys(k.ctx(), entry("key.revoke"))
		k.ok(err)
		if len(ended) != 1 || ended[0].ID != s.ID || !until.IsZero() || k.knownKey(key.ID).Revoked.IsZero() || !k.knownKey("key_next").Revoked.IsZero() {
			k.Errorf("after the overlap: ended %v, next at %v", ended, until)
		}
		if !slices.Equal(k.changesOf(doorward.KeyChanged, last), []string{key.ID}) {
			k.Errorf("the feed says %v", k.changes(last))
		}
		last = k.lastChange()
		if ended, until, err := k.EndStoppedKeys(k.ctx(), entry("key.revoke")); err != nil || len(ended) > 0 || !until.IsZero() || k.lastChange() != last {
			k.Errorf("again: ended %v, next at %v, error %v", ended, until, err)
		}
	}},
	{"many overlaps that are over end", func(k *kit) {
		const n = 50
		for i := range n {
			key := k.newKey("")
			_, _, _, _, err := k.RotateKey(k.ctx(), key.ID, rotating(fmt.Sprintf("key_n%d", i), time.Minute), entry("key.rotate"))
			k.ok(err)
		}
		last := k.lastChange()
		k.advance(time.Minute)
		_, until, err := k.EndStoppedKeys(k.ctx(), entry("key.revoke"))
		k.ok(err)
		if got := k.changesOf(doorward.KeyChanged, last); len(got) != n || !until.IsZero() {
			k.Errorf("%d ended, next at %v", len(got), until)
		}
	}},
	{"without an overlap the old key is revoked", func(k *kit) {
		key := k.newKey("")
		s, err := k.keySession(key.ID)
		k.ok(err)
		old, _, ended, _, err := k.RotateKey(k.ctx(), key.ID, rotating("key_next", 0), entry("key.rotate"))
		k.ok(err)
		if old.Revoked.IsZero() || len(ended) != 1 || ended[0].ID != s.ID || k.knownKey(key.ID).Revoked.IsZero() {
			k.Errorf("%+v, ended %v", old, ended)
		}
	}},
	{"use is noted, at most once a minute", func(k *kit) {
		a, b, idle := k.newKey(""), k.newKey(""), k.newKey("")
		k.ok(k.NoteKeyUses(k.ctx(), nil))
		k.ok(k.NoteKeyUses(k.ctx(), []string{a.ID}))
		first := k.knownKey(a.ID).LastUsed
		k.advance(50 * time.Second)
		k.ok(k.NoteKeyUses(k.ctx(), []string{a.ID, b.ID, a.ID, "key_none"}))
		if got := k.knownKey(a.ID).LastUsed; first.IsZero() || !got.Equal(first) {
			k.Errorf("noted at %v and again at %v", first, got)
		}
		if got := k.knownKey(b.ID).LastUsed; !got.After(first) {
			k.Errorf("the other's: %v", got)
		}
		k.advance(20 * time.Second)
		var many []string
		for i := range 250 {
			many = append(many, fmt.Sprintf("key_none%d", i))
		}
		k.ok(k.NoteKeyUses(k.ctx(), append(many, a.ID)))
		if got := k.knownKey(a.ID).LastUsed; got.Sub(first) < time.Minute {
			k.Errorf("after more than a minute: %v", got)
		}
		if got := k.knownKey(idle.ID).LastUsed; !got.IsZero() {
			k.Errorf("of one that is not used: %v", got)
		}
	}},
	{"all keys and owners are read, or just some", func(k *kit) {
		u, idle := k.user("anna"), k.user("berta")
		want := map[string]doorward.KeyState{}
		var ids []string
		for i := range 230 {
			key := k.newKey([]string{"", u.ID}[i%2])
			want[key.ID] = key
			ids = append(ids, key.ID)
		}
		gone := k.newKey(u.ID)
		_, _, _, err := k.RevokeKey(k.ctx(), gone.ID, anyKey, entry("key.revoke"))
		k.ok(err)
		load := func(ids []string) map[string]doorward.KeyRecord {
			got := map[string]doorward.KeyRecord{}
			k.ok(k.LoadKeys(k.ctx(), ids, func(r doorward.KeyRecord) error {
				if _, twice := got[r.ID]; twice {
					k.Errorf("%s comes twice", r.ID)
				}
				got[r.ID] = r
				return nil
			}))
			return got
		}
		for _, asked := range [][]string{nil, ids} {
			got := load(asked)
			if len(got) != len(want) {
				k.Errorf("%d keys, want %d", len(got), len(want))
			}
			for id, key := range want {
				if r := got[id]; r.Hash != key.Hash || r.Role != key.Role || r.Owner != key.Owner || r.Org != key.Org || r.Workspace != key.Workspace || r.Revoked {
					k.Errorf("got %+v, want %+v", r, key)
				}
			}
		}
		if got := load([]string{gone.ID, ids[0], ids[0], "key_none"}); len(got) != 2 || !got[gone.ID].Revoked || got[ids[0]].Revoked {
			k.Errorf("got %+v", got)
		}
		if got := load([]string{}); len(got) > 0 {
			k.Errorf("of none: %v", got)
		}
		holders := func(ids []string) (names []string) {
			k.ok(k.LoadHolders(k.ctx(), ids, func(u doorward.User) error {
				names = append(names, u.Username)
				return nil
			}))
			slices.Sort(names)
			return names
		}
		if got := holders(nil); !slices.Equal(got, []string{"anna"}) {
			k.Errorf("owners: %v", got)
		}
		if got := holders([]string{u.ID, idle.ID, "usr_none"}); !slices.Equal(got, []string{"anna", "berta"}) {
			k.Errorf("of two: %v", got)
		}
		stop := errors.New("stop")
		if err := k.LoadKeys(k.ctx(), nil, func(doorward.KeyRecord) error { return stop }); !errors.Is(err, stop) {
			k.Errorf("got %v", err)
		}
	}},
	{"pages are in order, whole and without repetition", func(k *kit) {
		u := k.user("anna")
		all := map[string][]string{} // by owner
		for i := range 25 {
			key := k.keyOf([]string{"", u.ID}[i%2])
			key.Name = fmt.Sprintf("%s%d", []string{"a", "B", "Ä"}[i%3], i%5) // some alike
			_, err := k.CreateKey(k.ctx(), key, doorward.HashSecret(key.ID), 100, agree, entry("key.create"))
			k.ok(err)
			line := strings.ToLower(key.Name) + " " + key.ID
			all[key.Owner] = append(all[key.Owner], line)
			all["any"] = append(all["any"], line)
		}
		gone := k.newKey(u.ID)
		_, _, _, err := k.RevokeKey(k.ctx(), gone.ID, anyKey, entry("key.revoke"))
		k.ok(err)
		for name, q := range map[string]doorward.KeyQuery{
			u.ID:  {Owner: u.ID},
			"any": {Org: doorward.Default},
			"ws":  {Org: doorward.Default, Workspaces: []string{doorward.Default, "nowhere"}},
			"no":  {Org: "nowhere"}, "no2": {Org: doorward.Default, Workspaces: []string{}}, "no3": {Owner: "usr_none"},
		} {
			for _, search := range []string{"", "A", "ä", "b3", "%", "z"} {
				want := all[map[string]string{"ws": "any"}[name]+map[bool]string{true: name}[name != "ws"]]
				want = slices.DeleteFunc(slices.Clone(want), func(line string) bool { return !strings.HasPrefix(line, strings.ToLower(search)) })
				slices.Sort(want)
				var got []string
				q.Search, q.After, q.Limit = search, doorward.KeyPlace{}, 4
				for {
					page, err := k.Keys(k.ctx(), q)
					k.ok(err)
					if len(page) == 0 {
						break
					}
					for _, key := range page {
						got = append(got, strings.ToLower(key.Name)+" "+key.ID)
					}
					last := page[len(page)-1]
					q.After = doorward.KeyPlace{Name: strings.ToLower(last.Name), ID: last.ID}
				}
				if !slices.Equal(got, want) {
					k.Errorf("%s, %q: got %q, want %q", name, search, got, want)
				}
			}
		}
		page, err := k.Keys(k.ctx(), doorward.KeyQuery{})
		k.ok(err)
		if len(page) != 1 {
			k.Errorf("without a limit: %d", len(page))
		}
	}},
	{"revoked keys go in the end", func(k *kit) {
		key, stays := k.newKey(""), k.newKey("")
		_, _, _, err := k.RevokeKey(k.ctx(), key.ID, anyKey, entry("key.revoke"))
		k.ok(err)
		k.ok(k.Prune(k.ctx(), time.Hour))
		k.knownKey(key.ID)
		k.advance(25 * time.Hour)
		k.ok(k.Prune(k.ctx(), time.Hour))
		if _, found, err := k.Key(k.ctx(), key.ID); found || err != nil {
			k.Errorf("found %v, error %v", found, err)
		}
		k.knownKey(stays.ID)
	}},
}

var keyRaceTests = []test{
	{"no session outlives its key or its owner's change", func(k *kit) {
		for name, end := range map[string]func(u doorward.User, key string) ([]doorward.EndedSession, error){
			"revoked": func(_ doorward.User, key string) ([]doorward.EndedSession, error) {
				_, ended, _, err := k.RevokeKey(k.ctx(), key, anyKey, entry("key.revoke"))
				return ended, err
			},
			"rotated": func(_ doorward.User, key string) ([]doorward.EndedSession, error) {
				_, _, ended, _, err := k.RotateKey(k.ctx(), key, rotating(k.id("key_"), 0), entry("key.rotate"))
				return ended, err
			},
			"disabled": func(u doorward.User, _ string) ([]doorward.EndedSession, error) {
				_, ended, _, err := k.ChangeUser(k.ctx(), u.ID, disable, entry("user.change"))
				return ended, err
			},
			"deleted": func(u doorward.User, _ string) ([]doorward.EndedSession, error) {
				ended, _, err := k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
				return ended, err
			},
		} {
			for round := range 3 {
				u := k.user(fmt.Sprintf("%s%d", name, round))
				key := k.newKey(u.ID)
				var mu sync.Mutex
				var made []string
				var ended []doorward.EndedSession
				race(callers, func(i int) {
					if i == callers/2 {
						all, err := end(u, key.ID)
						if err != nil {
							k.Errorf("%s: %v", name, err)
						}
						ended = all
						return
					}
					s, err := k.keySession(key.ID)
					switch {
					case err == nil:
						mu.Lock()
						made = append(made, s.ID)
						mu.Unlock()
					case !errors.Is(err, doorward.ErrInvalidToken):
						k.Errorf("%s: %v", name, err)
					}
				})
				for _, id := range made {
					if k.session(id).Ended.IsZero() {
						k.Errorf("%s: session %s lives on", name, id)
					}
					if !slices.ContainsFunc(ended, func(e doorward.EndedSession) bool { return e.ID == id }) {
						k.Errorf("%s: session %s was not told to have ended", name, id)
					}
				}
			}
		}
	}},
	{"no refresh after a key's end, whoever is first", func(k *kit) {
		u := k.user("anna")
		for round := range 4 {
			key := k.newKey(u.ID)
			var sessions []doorward.Session
			for range callers - 1 {
				s, err := k.keySession(key.ID)
				k.ok(err)
				sessions = append(sessions, s)
			}
			var over atomic.Bool
			race(callers, func(i int) {
				if i == callers-1 {
					_, _, _, err := k.RevokeKey(k.ctx(), key.ID, anyKey, entry("key.revoke"))
					over.Store(true)
					if err != nil {
						k.Errorf("round %d: %v", round, err)
					}
					return
				}
				late := over.Load()
				_, err := k.AdvanceRefresh(k.ctx(), sessions[i].ID, func(at doorward.RefreshState) doorward.RefreshDecision {
					good := at.Session.Ended.IsZero() && at.Key != nil && at.Key.Good(at.Now) == nil
					if !good {
						return doorward.RefreshDecision{}
					}
					if late {
						k.Error("a session advances after its key's end was acknowledged")
					}
					c := at.Session.Chain
					c.Gen++
					return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: c, AccessUntil: at.Now}
				}, entry("session.end"))
				if err != nil {
					k.Errorf("round %d: %v", round, err)
				}
			})
			for _, s := range sessions {
				if k.session(s.ID).Ended.IsZero() {
					k.Errorf("round %d: session %s lives on", round, s.ID)
				}
			}
		}
	}},
	{"a key is rotated once", func(k *kit) {
		key := k.newKey("")
		var won atomic.Int64
		race(callers, func(i int) {
			_, _, _, found, err := k.RotateKey(k.ctx(), key.ID, rotating(fmt.Sprintf("key_n%d", i), time.Hour), entry("key.rotate"))
			var e *doorward.Error
			switch {
			case err == nil && found:
				won.Add(1)
			case !errors.As(err, &e) || e.Code != doorward.CodeConflict:
				k.Errorf("caller %d: found %v, %v", i, found, err)
			}
		})
		page, err := k.Keys(k.ctx(), doorward.KeyQuery{Org: doorward.Default, Limit: 1000})
		k.ok(err)
		if won.Load() != 1 || len(page) != 2 {
			k.Errorf("%d have rotated it, and there are %d keys", won.Load(), len(page))
		}
	}},
	{"nobody has more keys than may be", func(k *kit) {
		const limit = 10
		u := k.user("anna")
		keys := make([]doorward.Key, callers)
		for i := range keys {
			keys[i] = k.keyOf(u.ID)
		}
		var made atomic.Int64
		race(callers, func(i int) {
			_, err := k.CreateKey(k.ctx(), keys[i], doorward.HashSecret(keys[i].ID), limit, agree, entry("key.create"))
			var e *doorward.Error
			switch {
			case err == nil:
				made.Add(1)
			case !errors.As(err, &e) || e.Code != doorward.CodeConflict:
				k.Errorf("caller %d: %v", i, err)
			}
		})
		if made.Load() != limit {
			k.Errorf("%d keys, want %d", made.Load(), limit)
		}
	}},
	{"no key of an owner who may not have it", func(k *kit) {
		for round := range 4 {
			u := k.user(fmt.Sprintf("anna%d", round))
			keys := make([]doorward.Key, callers)
			for i := range keys {
				keys[i] = k.keyOf(u.ID)
			}
			var over atomic.Bool
			race(callers, func(i int) {
				if i == 0 {
					_, _, _, err := k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
						u.Role = doorward.Viewer
						return u, nil
					}, entry("user.change"))
					over.Store(true)
					if err != nil {
						k.Error(err)
					}
					return
				}
				late := over.Load()
				_, err := k.CreateKey(k.ctx(), keys[i], doorward.HashSecret(keys[i].ID), 1000, keys[i].CheckHolder, entry("key.create"))
				if err == nil && late || err != nil && !errors.Is(err, doorward.ErrForbidden) {
					k.Errorf("late %v: %v", late, err)
				}
			})
		}
	}},
}
