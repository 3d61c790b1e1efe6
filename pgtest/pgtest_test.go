//go:build unix

package pgtest_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorward/pgtest"
)

func TestAClusterIsWhatItsMethodsSay(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Config{Password: "psst"})
	url := c.Database(t)
	if !strings.Contains(url, ":psst@127.0.0.1:") {
		t.Errorf("the URL is %s", url)
	}
	c.Exec(t, url, "CREATE TABLE kept (n int)")
	copied := c.Clone(t, url)
	c.Exec(t, copied, "INSERT INTO kept VALUES (0)")
	c.Exec(t, url, "INSERT INTO kept VALUES (1)")
	c.Kill(t)
	c.Restart(t)
	c.Exec(t, url, "INSERT INTO kept VALUES (2)")
	c.Stop(t)
	c.Restart(t)
	c.Freeze(t)
	c.Thaw(t)
	c.Demote(t)
	if got := c.Exec(t, url, "SELECT pg_is_in_recovery(), count(*) FROM kept"); got != "t|2" {
		t.Errorf("as a replica: %s", got)
	}
	c.Promote(t)
	c.Exec(t, url, "INSERT INTO kept VALUES (3)")
	if got := c.Exec(t, url, "SELECT n FROM kept ORDER BY n"); got != "1\n2\n3" {
		t.Errorf("kept: %q", got)
	}
	if got := c.Exec(t, copied, "SELECT n FROM kept"); got != "0" {
		t.Errorf("kept in the copy: %q", got)
	}
	if got := c.Exec(t, url, "SELECT current_setting('fsync')"); got != "on" {
		t.Errorf("fsync is %s", got)
	}
}

func TestAClusterLeavesNothing(t *testing.T) {
	t.Parallel()
	var dir string
	for name, harm := range map[string]func(t *testing.T, c *pgtest.Cluster){
		"running": func(*testing.T, *pgtest.Cluster) {},
		"frozen":  func(t *testing.T, c *pgtest.Cluster) { c.Freeze(t) },
		"killed":  func(t *testing.T, c *pgtest.Cluster) { c.Kill(t) },
	} {
		t.Run(name, func(t *testing.T) {
			c := pgtest.Start(t, pgtest.Config{Fast: true})
			url := c.Database(t)
			dir = filepath.Dir(c.Exec(t, url, "SHOW data_directory"))
			if _, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION")); err != nil {
				t.Fatal(err)
			}
			harm(t, c)
		})
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: %s is still there: %v", name, dir, err)
		}
	}
}

func TestAProxyCutsWhereItIsTold(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Config{Fast: true})
	p := pgtest.NewProxy(t, c.URL())
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	// hear begins a session and returns the types of the first messages that arrive.
	hear := func(messages int) (heard string) {
		t.Helper()
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		hello := append(binary.BigEndian.AppendUint32(nil, 3<<16), "user\x00doorward\x00database\x00postgres\x00\x00"...)
		// What the proxy has closed cannot always be written to.
		_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(hello)+4)), hello...))
		for len(heard) < messages {
			head := make([]byte, 5)
			if _, err := io.ReadFull(conn, head); err != nil {
				return heard
			}
			if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
				return heard
			}
			heard += string(head[:1])
		}
		return heard
	}
	if got := hear(3); got != "RSS" { // authentication, then parameters
		t.Errorf("uncut: %q", got)
	}
	for n, want := range []string{"", "", "R", "RS", "RSS"} {
		p.CutAt(n, false)
		if got := hear(10); got != want || p.Waiting() || p.Passed() != n {
			t.Errorf("cut before message %d: %q, want %q; waiting %v, passed %d", n, got, want, p.Waiting(), p.Passed())
		}
		if got := hear(3); got != "RSS" {
			t.Errorf("after that cut: %q", got)
		}
	}
	p.CutAt(1, true)
	for _, when := range []string{"then", "later", "again"} {
		if got := hear(1); got != "" {
			t.Errorf("cut for good, %s: %q", when, got)
		}
	}
	p.Heal()
	p.CutAt(100, true)
	if got := hear(3); got != "RSS" || !p.Waiting() {
		t.Errorf("healed: %q, waiting %v", got, p.Waiting())
	}
	p.Cut()
	if got := hear(1); got != "" {
		t.Errorf("cut: %q", got)
	}
}
