//go:build unix

package pgtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTime is how long a server may take to start before the test fails.
const startTime = time.Minute

// superuser is who URLs of a cluster sign in as.
const superuser = "doorward"

// Config says how a cluster is made. The zero Config makes one that keeps what it
// acknowledges, as in production, and believes everybody on this machine.
type Config struct {
	// Fast leaves fsync out, and the disk where there is room in memory: half of what each
	// database of a test costs is some three hundred files made and deleted. What such a cluster
	// acknowledges outlives its processes, as the kernel has it, but not the machine.
	Fast bool
	// Password is asked for by scram-sha-256; empty believes everybody.
	Password string
}

// Cluster is a PostgreSQL server with a data directory of its own. Its methods are for
// one goroutine at a time, but Database, Clone and Exec for any number.
type Cluster struct {
	config Config
	bin    string // where the server's programs are
	dir    string // all there is of it
	port   int
	owner  *syscall.Credential // whom the processes run as; nil for who runs the test
	server *server             // nil while it is stopped
	frozen bool
}

// Start makes a cluster, starts it, and removes it when t ends.
func Start(t testing.TB, c Config) *Cluster {
	t.Helper()
	bin := programs(t)
	cluster, err := start(bin, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.remove(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// Shared is one cluster for all tests of a binary, with a database for each. It starts
// when first needed and must be stopped in TestMain. It must not be copied.
type Shared struct {
	Config Config
	// Prepare, if any, fills the database of which every test gets a copy. It leaves no
	// connection open.
	Prepare func(url string) error

	first   sync.Once
	cluster *Cluster
	err     error
}

const template = "prepared"

// Cluster returns the cluster, started.
func (s *Shared) Cluster(t testing.TB) *Cluster {
	t.Helper()
	bin := programs(t)
	s.first.Do(func() {
		if s.cluster, s.err = start(bin, s.Config); s.err != nil {
			return
		}
		if _, s.err = s.cluster.run(s.cluster.URL(), "CREATE DATABASE "+template); s.err == nil && s.Prepare != nil {
			s.err = s.Prepare(s.cluster.urlOf(template))
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}

// Database makes a database as Prepare left it, for t alone, and returns its URL.
func (s *Shared) Database(t testing.TB) string {
	t.Helper()
	c := s.Cluster(t)
	return c.Clone(t, c.urlOf(template))
}

// Stop removes the cluster, if it was ever started.
func (s *Shared) Stop() error {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.remove()
}

// URL is that of the database postgres, for the superuser.
func (c *Cluster) URL() string { return c.urlOf("postgres") }

func (c *Cluster) urlOf(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(superuser), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	if c.config.Password != "" {
		u.User = url.UserPassword(superuser, c.config.Password)
	}
	return u.String()
}

// Database makes an empty database for t alone and returns its URL.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	return c.Clone(t, c.urlOf("template0"))
}

// Clone makes a copy, for t alone, of the database at the URL of, to which nobody may be
// connected, and returns its URL.
func (c *Cluster) Clone(t testing.TB, of string) string {
	t.Helper()
	from, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	name := "t" + strings.ToLower(rand.Text())
	c.Exec(t, c.URL(), "CREATE DATABASE "+name+" TEMPLATE "+strings.TrimPrefix(from.Path, "/"))
	t.Cleanup(func() {
		if c.server == nil || c.frozen {
			return // and all of it goes soon
		}
		c.Exec(t, c.URL(), "DROP DATABASE "+name+" WITH (FORCE)")
	})
	return c.urlOf(name)
}

// Exec runs SQL in the database at url, by psql, and returns what it answers: a line for
// each row, columns joined by |.
func (c *Cluster) Exec(t testing.TB, url, text string) string {
	t.Helper()
	out, err := c.run(url, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *Cluster) run(url, text string) (string, error) {
	psql := exec.Command(filepath.Join(c.bin, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text)
	psql.Env = []string{"PGCONNECT_TIMEOUT=10", "LC_ALL=C"}
	psql.Dir = c.dir
	var stderr bytes.Buffer
	psql.Stderr = &stderr
	out, err := psql.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %s: %w: %s", text, err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// Stop ends the server as an orderly shutdown does: connections are ended, all is kept.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if c.server == nil {
		return
	}
	if c.frozen {
		c.Thaw(t)
	}
	if err := c.server.end(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	c.server = nil
}

// Kill ends all its processes at once, by SIGKILL, and returns when they are gone.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	if c.server == nil {
		return
	}
	if err := c.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.server.gone
	c.server, c.frozen = nil, false
}

// Restart starts the server again, at the same URL; after Kill that is crash recovery.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.Stop(t)
	if err := c.boot(); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops all its processes without ending them (SIGSTOP), as a machine that hangs
// or cannot be reached: connections stay open and nothing answers.
func (c *Cluster) Freeze(t testing.TB) {
	t.Helper()
	if err := c.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.frozen = true
}

// Thaw undoes Freeze.
func (c *Cluster) Thaw(t testing.TB) {
	t.Helper()
	if err := c.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.frozen = false
}

// Demote restarts the server as a read replica, which answers and can change nothing.
func (c *Cluster) Demote(t testing.TB) {
	t.Helper()
	c.Stop(t)
	if err := c.write(filepath.Join("data", "standby.signal"), ""); err != nil {
		t.Fatal(err)
	}
	c.Restart(t)
}

// Promote makes a replica the primary again.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	if got := c.Exec(t, c.URL(), "SELECT pg_promote()"); got != "t" {
		t.Fatalf("pg_promote: %s", got)
	}
}

// signal sends all processes of the cluster sig.
func (c *Cluster) signal(sig syscall.Signal) error {
	if c.server == nil {
		return errors.New("the server is stopped")
	}
	// Stopped first, so that no process is born while they are being listed.
	if err := syscall.Kill(c.server.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	pids, err := children(c.server.pid)
	if err != nil {
		return errors.Join(err, syscall.Kill(c.server.pid, syscall.SIGCONT))
	}
	for _, pid := range append(pids, c.server.pid) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// programs finds the directory of the server's programs, else skips t.
func programs(t testing.TB) string {
	t.Helper()
	var found []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, filepath.Dir(path))
		}
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is good
	found = append(found, all...)
	for _, dir := range found {
		complete := true
		for _, program := range []string{"initdb", "postgres", "psql"} {
			if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
				complete = false
			}
		}
		if complete {
			return dir
		}
	}
	const missing = "no PostgreSQL server here (initdb is looked for in PATH and in /usr/lib/postgresql/*/bin); install the Debian package postgresql"
	if os.Getenv("DOORWARD_TEST_ALL") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// start makes a cluster and starts it.
func start(bin string, config Config) (_ *Cluster, err error) {
	// A short name: the path of a Unix socket has room for a hundred characters.
	dir, err := os.MkdirTemp(place(config), "pg")
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: config, bin: bin, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	if c.owner, err = serverOwner(); err != nil {
		return nil, err
	}
	if err := c.own(dir); err != nil {
		return nil, err
	}
	if err := c.initdb(); err != nil {
		return nil, err
	}
	// A free port may be taken before the server has it.
	for try := 1; ; try++ {
		if c.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = c.boot(); err == nil || try == 5 || !strings.Contains(err.Error(), "could not create any TCP/IP sockets") {
			return c, err
		}
	}
}

// place is the directory in which a cluster's is made; empty for the usual one.
func place(c Config) string {
	const room = 2 << 30 // some ten times what any suite here has needed
	if !c.Fast || memoryFree() < room {
		return ""
	}
	return memory
}

// initdb makes the data directory.
func (c *Cluster) initdb() error {
	access := "trust"
	if c.config.Password != "" {
		access = "scram-sha-256"
	}
	if err := c.write("password", c.config.Password+"\n"); err != nil {
		return err
	}
	args := []string{
		"-D", filepath.Join(c.dir, "data"), "-U", superuser, "-A", access, "-E", "UTF8",
		"--locale=C", "--no-sync", "--no-instructions",
	}
	if c.config.Password != "" {
		args = append(args, "--pwfile="+filepath.Join(c.dir, "password"))
	}
	initdb := exec.Command(filepath.Join(c.bin, "initdb"), args...)
	initdb.Dir = c.dir
	initdb.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// boot starts the server and returns when it can be asked.
func (c *Cluster) boot() error {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(c.port), "unix_socket_directories=" + c.dir,
		"max_connections=" + strconv.Itoa(100+20*runtime.GOMAXPROCS(0)), "shared_buffers=32MB",
		"timezone=UTC", "lc_messages=C", "log_destination=stderr", "logging_collector=off",
		"dynamic_shared_memory_type=mmap", // a file of the data directory: the kernel's outlives a server that is killed
	}
	if c.config.Fast {
		settings = append(settings, "fsync=off", "full_page_writes=off", "max_wal_size=128MB")
	}
	args := []string{"-D", filepath.Join(c.dir, "data")}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	postgres := exec.Command(filepath.Join(c.bin, "postgres"), args...)
	postgres.Dir = c.dir
	postgres.Env = []string{"LC_ALL=C"}
	postgres.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	var err error
	c.server, err = launch(postgres)
	return err
}

// remove ends the server without ceremony and deletes all there is of the cluster.
func (c *Cluster) remove() error {
	var errs []error
	if c.server != nil {
		if c.frozen {
			errs = append(errs, c.signal(syscall.SIGCONT))
		}
		errs = append(errs, c.server.end(syscall.SIGQUIT))
		c.server = nil
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// write makes a file in the cluster's directory, of the server's owner.
func (c *Cluster) write(name, content string) error {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return c.own(path)
}

func (c *Cluster) own(path string) error {
	if c.owner == nil {
		return nil
	}
	return os.Chown(path, int(c.owner.Uid), int(c.owner.Gid))
}

// serverOwner is whom the server runs as: it refuses to be root.
func serverOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var err error
	for _, name := range []string{"postgres", "nobody"} {
		var u *user.User
		if u, err = user.Lookup(name); err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err = errors.Join(uidErr, gidErr); err == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("a PostgreSQL server does not run as root, and there is nobody else: %w", err)
}

// freePort picks a port below those that outgoing connections get, so that none of them
// has it when the server starts again.
func freePort() (int, error) {
	var err error
	for range 100 {
		var n *big.Int
		if n, err = rand.Int(rand.Reader, big.NewInt(12000)); err != nil {
			return 0, err
		}
		port := 20000 + int(n.Int64())
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}
