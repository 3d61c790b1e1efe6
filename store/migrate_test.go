package store

import (
	"database/sql"
	"io/fs"
	"slices"
	"testing"

	"doorward"
)

// TestSessionsOfBeforeAreListed: sessions that were there before any was listed by whose it is get what they are
// listed by when the schema is brought up to date.
func TestSessionsOfBeforeAreListed(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (*Store, *clock, *sql.DB){
		"sqlite": func(t *testing.T) (*Store, *clock, *sql.DB) {
			path := newPath(t)
			s, c := open(t, path)
			db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			return s, c, db
		},
		"postgres": func(t *testing.T) (*Store, *clock, *sql.DB) {
			text := postgres.Database(t)
			s, c := openURL(t, text, calm)
			return s, c, behind(t, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, db := open(t)
			ctx := t.Context()
			try := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			try(s.CreateUser(ctx, person("usr_b", "Berta"), hash, noted))
			for id, owner := range map[string]string{"key_a": "usr_b", "key_s": ""} {
				k := doorward.Key{ID: id, Prefix: id, Name: "Key " + id, Role: doorward.Viewer, Org: doorward.Default, Workspace: doorward.Default, Owner: owner}
				_, err := s.CreateKey(ctx, k, doorward.HashSecret(id), 10, anybody, noted)
				try(err)
			}
			for id, credential := range map[string]string{"ses_b": "usr_b", "ses_a": "key_a", "ses_s": "key_s", "ses_t": "tok_1"} {
				n := session(id, credential, c)
				n.Subject = "My-App"
				try(s.CreateSession(ctx, n, 10, noted))
			}
			listed := func() (all []string) {
				t.Helper()
				rows, err := db.QueryContext(ctx, `SELECT id || ' ' || listed FROM sessions ORDER BY listed, id`)
				try(err)
				defer rows.Close()
				for rows.Next() {
					var one string
					try(rows.Scan(&one))
					all = append(all, one)
				}
				try(rows.Err())
				return all
			}
			want := []string{"ses_b berta", "ses_a berta my-app key key_a", "ses_t my-app", "ses_s my-app key key_s"}
			if got := listed(); !slices.Equal(got, want) {
				t.Fatalf("they are listed by %q, want %q", got, want)
			}
			execute(t, db, `DROP INDEX sessions_page`)
			execute(t, db, `ALTER TABLE sessions DROP COLUMN listed`)
			files, err := fs.Glob(schemas, "schema/"+name+"/*_sessions_page.sql")
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			step, err := fs.ReadFile(schemas, files[0])
			try(err)
			execute(t, db, string(step))
			if got := listed(); !slices.Equal(got, want) {
				t.Errorf("they are listed by %q, want %q", got, want)
			}
		})
	}
}
