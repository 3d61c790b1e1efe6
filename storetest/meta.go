package storetest

import (
	"bytes"

	"doorward"
)

var metaTests = []test{
	{"the first salt stays", func(k *kit) {
		first, second := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		for _, fresh := range [][]byte{first, second, nil} {
			got, err := k.Salt(k.ctx(), fresh)
			k.ok(err)
			if !bytes.Equal(got, first) {
				k.Fatalf("given %x: got %x, want %x", fresh, got, first)
			}
		}
	}},
	{"a salt of another length is not kept", func(k *kit) {
		for _, bad := range [][]byte{nil, {}, []byte("short"), make([]byte, 33)} {
			if got, err := k.Salt(k.ctx(), bad); err == nil {
				k.Fatalf("got %x, want an error", got)
			}
		}
		good := bytes.Repeat([]byte{3}, 32)
		got, err := k.Salt(k.ctx(), good)
		k.ok(err)
		if !bytes.Equal(got, good) {
			k.Fatalf("got %x, want %x", got, good)
		}
	}},
	{"the mark is set once and for all", func(k *kit) {
		k.state(false, false)
		k.ok(k.MarkInitialised(k.ctx()))
		k.state(true, false)
		k.ok(k.MarkInitialised(k.ctx()))
		k.state(true, false)
	}},
	{"the first user sets the mark, and its end does not take it back", func(k *kit) {
		u := k.person("first")
		created, err := k.CreateFirstUser(k.ctx(), u, hashOne, entry("user.create"))
		k.ok(err)
		if !created {
			k.Fatal("the first user was not created")
		}
		k.state(true, true)
		_, found, err := k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
		k.ok(err)
		if !found {
			k.Fatal("the first user is not found")
		}
		k.state(true, false)
	}},
	{"a user made in any other way sets the mark", func(k *kit) {
		k.user("anna")
		k.state(true, true)
	}},
	{"it can be read", func(k *kit) {
		k.ok(k.Ping(k.ctx()))
	}},
	{"after closing everything is an error and nothing a panic", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		k.ok(k.Close())
		k.ok(k.Close())
		for name, call := range k.everyMethod(k.ctx(), u, s) {
			if err := call(); err == nil {
				k.Errorf("%s: no error from a closed store", name)
			}
		}
	}},
}

func (k *kit) state(initialised, hasUsers bool) {
	k.Helper()
	st, err := k.State(k.ctx())
	k.ok(err)
	if st != (doorward.State{Initialised: initialised, HasUsers: hasUsers}) {
		k.Fatalf("got %+v, want initialised %v, has users %v", st, initialised, hasUsers)
	}
}
