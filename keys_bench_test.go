package doorward_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"doorward"
	"doorward/store"
)

// Sized by KEYS, 100,000 unless given:
//
//	KEYS=1000000 go test -run '^$' -bench StartWithKeys -benchtime 1x .

// fillWithKeys puts n keys of 1,000 owners, and as many service keys as owners, into a new SQLite store.
func fillWithKeys(b *testing.B, file string, n int) *store.Store {
	b.Helper()
	s, err := store.OpenSQLite(b.Context(), file, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		`WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
		INSERT INTO users SELECT 'usr_' || i, 'user' || i, 'user' || i, '', 'editor', 'default', 0, 0, 0, 0, 0 FROM n`,
		`INSERT INTO memberships SELECT id, 'default', 'default' FROM users`,
		fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO api_keys (id, sha256, prefix, name, canonical, role, org, workspace, owner, service, client_ids, created, expires, last_used, revoked, rotated_to, overlap_until)
		SELECT printf('key_%%024d', i), randomblob(32), printf('brk_%%08x', i), printf('Key %%07d', i), printf('key %%07d', i), 'editor', 'default', 'default',
			'usr_' || (i %% 1000), 0, '', 0, 0, 0, 0, NULL, 0 FROM n`, n-1),
	} {
		if _, err := db.Exec(text); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkStartWithKeys(b *testing.B) {
	n := 100_000
	if given := os.Getenv("KEYS"); given != "" {
		var err error
		if n, err = strconv.Atoi(given); err != nil || n < 1 {
			b.Fatalf("KEYS=%q is not a number of keys", given)
		}
	}
	s := fillWithKeys(b, filepath.Join(b.TempDir(), "doorward.db"), n)
	defer s.Close()
	salt, err := s.Salt(b.Context(), slices.Repeat([]byte{7}, doorward.SaltLen))
	if err != nil {
		b.Fatal(err)
	}
	ring, err := doorward.NewKeyRing(salt, doorward.Secret(realSecret))
	if err != nil {
		b.Fatal(err)
	}
	hasher, err := doorward.NewHasher(doorward.HasherConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := doorward.New(b.Context(), doorward.Config{Store: s, Keys: ring, Salt: salt, Hasher: hasher}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n), "keys")
}

// BenchmarkKeyPage is a page, and a search, of a list of so many.
func BenchmarkKeyPage(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		s := fillWithKeys(b, filepath.Join(b.TempDir(), "doorward.db"), n)
		defer s.Close()
		middle := doorward.KeyPlace{Name: fmt.Sprintf("key %07d", n/2), ID: fmt.Sprintf("key_%024d", n/2)}
		for _, c := range []struct {
			name string
			q    doorward.KeyQuery
		}{
			{"of an organization", doorward.KeyQuery{Org: doorward.Default, After: middle}},
			{"of a workspace", doorward.KeyQuery{Org: doorward.Default, Workspaces: []string{doorward.Default}, After: middle}},
			{"of one's own", doorward.KeyQuery{Owner: "usr_7"}},
			{"search by name", doorward.KeyQuery{Org: doorward.Default, Search: "KEY 00004"}},
			{"search for nothing", doorward.KeyQuery{Org: doorward.Default, Search: "nothing"}},
			{"search by prefix", doorward.KeyQuery{Org: doorward.Default, Search: "brk_00000040"}},
		} {
			c.q.Limit = 100
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := s.Keys(b.Context(), c.q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
