package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"doorward"
)

// doesTyping is typing for a command that must succeed and have nothing to complain of.
func (d *door) doesTyping(stdin string, args ...string) string {
	d.t.Helper()
	status, stdout, stderr := d.typing(stdin, args...)
	if status != 0 || stderr != "" {
		d.t.Fatalf("doorward %v: status %d, %s", args, status, stderr)
	}
	return stdout
}

// fails runs a command that must fail with one line.
func (d *door) fails(want string, stdin string, args ...string) {
	d.t.Helper()
	status, stdout, stderr := d.typing(stdin, args...)
	if status == 0 || stdout != "" || stderr != "doorward: "+want+"\n" {
		d.t.Errorf("doorward %v: status %d, %q, %q; want %q", args, status, stdout, stderr, want)
	}
}

// TestUserCommands beside a running server, which notices.
func TestUserCommands(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "open_mode=never")
		says := func(want, stdin string, args ...string) {
			t.Helper()
			if got := d.doesTyping(stdin, args...); got != want+"\n" {
				t.Errorf("%v: %q, want %q", args, got, want)
			}
		}
		ends := func(token string) {
			t.Helper()
			until(t, time.Second, "the server lets the token in no more", func() bool {
				return d.do("GET", "/api/auth/me", bearer(token)).status == http.StatusUnauthorized
			})
		}
		d.do("GET", "/api/pipelines").refused(http.StatusServiceUnavailable, "setup required")
		says("made user root: superadmin in organization default, workspaces default", rootPassword+"\n", "user", "add", "root", "--role", "superadmin", "--password-stdin")
		d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
		rootToken, _ := d.signIn("root", rootPassword)
		root := bearer(rootToken)

		says("made organization acme", "", "org", "create", "acme", "--name", "Acme Ltd")
		says("made workspace lab of organization acme", "", "workspace", "create", "lab", "--org", "acme")
		until(t, time.Second, "the server knows the workspace", func() bool {
			return d.do("GET", "/api/auth/me", root, inOrg("acme"), inWorkspace("lab")).status == http.StatusOK
		})
		var made shownUser
		if err := json.Unmarshal([]byte(d.doesTyping("password of ann", "user", "add", "Ann", "--role=editor", "--org=acme", "--workspace=lab,default", "--must-change", "--password-stdin", "--json")), &made); err != nil {
			t.Fatal(err)
		}
		id := made.ID
		made.ID = ""
		if want := (shownUser{"", "Ann", "editor", "acme", []string{"default", "lab"}, false, true}); fmt.Sprint(made) != fmt.Sprint(want) {
			t.Errorf("made %+v, want %+v", made, want)
		}
		a := d.login("ann", "password of ann").want(http.StatusOK)
		d.do("GET", "/api/pipelines", bearer(a.str("token"))).refused(http.StatusForbidden, "password change required")

		list := d.prints("user", "list")
		for _, want := range []string{"root  default\n", id + "  editor      acme              must change   Ann  default,lab\n"} {
			if !strings.Contains(list, want) {
				t.Errorf("no %q in\n%s", want, list)
			}
		}
		if got := d.prints("user", "list", "--org", "acme", "--search", "AN", "--json"); !strings.HasPrefix(got, `{"users":[`+"\n"+`{"id":"`+id+`","username":"Ann","role":"editor","org_id":"acme"`) || strings.Contains(got, "root") {
			t.Error(got)
		}
		if got := d.prints("user", "list", "--search", "none", "--json"); got != `{"users":[]}`+"\n" {
			t.Error(got)
		}

		says("reset the password of Ann", "another of ann\r\n", "user", "reset-password", "ANN", "--password-stdin")
		ends(a.str("token"))
		d.login("ann", "password of ann").refused(http.StatusUnauthorized, "invalid credentials")
		token, _ := d.signIn("ann", "another of ann")
		says("Ann is viewer now", "", "user", "set-role", "ann", "viewer")
		ends(token)
		token, _ = d.signIn("ann", "another of ann")
		says("Ann is in the workspaces default, lab now", "", "user", "set-workspaces", "ann", "lab", "default") // where Ann was
		d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusOK)
		says("Ann is in the workspace lab now", "", "user", "set-workspaces", "ann", "lab")
		ends(token)
		token, _ = d.signIn("ann", "another of ann")
		d.do("GET", "/api/auth/me", bearer(token), inWorkspace("lab")).want(http.StatusOK)
		d.do("GET", "/api/auth/me", bearer(token), inWorkspace("default")).want(http.StatusForbidden)
		says("organization acme is called The Acme now", "", "org", "rename", "acme", "The Acme")
		until(t, 20*time.Second, "the server knows the organization's name", func() bool {
			return d.do("GET", "/api/auth/me", bearer(token)).str("organization.name") == "The Acme"
		})
		says("workspace lab of organization acme is called The lab now", "", "workspace", "rename", "lab", "The lab", "--org", "acme")
		if got := d.do("GET", "/api/auth/workspaces", root, inOrg("acme")).want(http.StatusOK).body; !strings.Contains(got, `"name":"The lab"`) {
			t.Errorf("no workspace is called The lab in %s", got)
		}
		says("disabled Ann", "", "user", "disable", "ann")
		ends(token)
		d.login("ann", "another of ann").refused(http.StatusUnauthorized, "invalid credentials")
		says("enabled Ann", "", "user", "enable", "ann")
		says("unlocked Ann", "", "user", "unlock", "ann")
		token, _ = d.signIn("ann", "another of ann")

		d.fails("workspace lab cannot be deleted: 1 person is in it", "", "workspace", "delete", "lab", "--org", "acme")
		d.fails("organization acme cannot be deleted: 1 person is in it", "", "org", "delete", "acme")
		says("deleted Ann", "", "user", "delete", "ann")
		ends(token)
		says("deleted workspace lab of organization acme", "", "workspace", "delete", "lab", "--org", "acme")
		says("deleted organization acme", "", "org", "delete", "acme")

		// What cannot be done is said in one line.
		d.fails("there is no user ann", "", "user", "delete", "ann")
		d.fails("there is no user of that name", "", "user", "unlock", "no body")
		d.fails("there is no organization acme", "x", "user", "add", "x", "--role", "viewer", "--org", "acme", "--password-stdin")
		d.fails("there is no organization acme", "", "user", "list", "--org", "acme")
		d.fails("there is no organization acme", "", "workspace", "list", "--org", "acme")
		d.fails("organization not found", "", "workspace", "create", "lab", "--org", "acme")
		d.fails("organization not found", "", "org", "delete", "acme")
		d.fails("id: must have 1 to 63 of a-z, 0-9 and -", "", "org", "create", "A,B")
		d.fails("username ROOT is taken", "password of root", "user", "add", "ROOT", "--role", "viewer", "--password-stdin")
		d.fails("workspaces: there is no workspace of that name", "password of x", "user", "add", "x", "--role", "viewer", "--workspace", "none", "--password-stdin")
		d.fails("password: must have at least 8 characters", "short", "user", "add", "x", "--role", "viewer", "--password-stdin")
		d.fails("--role: must be one of superadmin, admin, editor, viewer", "", "user", "add", "x", "--role", "Admin", "--password-stdin")
		d.fails("--password-stdin: standard input is empty", "\n", "user", "add", "x", "--role", "viewer", "--password-stdin")
		d.fails("--password-stdin: standard input must hold the password and nothing else, in one line", "a password\nof two lines\n", "user", "add", "x", "--role", "viewer", "--password-stdin")
		d.fails("the password is asked for on a terminal, and standard input is none; give it with --password-stdin", "password of x", "user", "reset-password", "root")
		for _, args := range [][]string{{"disable", "root"}, {"delete", "root"}, {"set-role", "root", "viewer"}} {
			d.fails("the last enabled superadmin cannot be removed, disabled or demoted", "", append([]string{"user"}, args...)...)
		}
		d.do("GET", "/api/auth/me", root).want(http.StatusOK)
		if n := d.count(`SELECT count(*) FROM audit WHERE actor_name = 'command line' AND action LIKE 'user.%'`); n < 9 {
			t.Errorf("%d entries say that it was the command line", n)
		}
	})
}

// count reads one number from the database, on either engine.
func (d *door) count(query string) (n int) {
	d.t.Helper()
	db := d.sqlOpen()
	defer db.Close()
	if err := db.QueryRowContext(d.t.Context(), query).Scan(&n); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// text reads one text from the database, on either engine.
func (d *door) text(query string, args ...any) (s string) {
	d.t.Helper()
	db := d.sqlOpen()
	defer db.Close()
	if err := db.QueryRowContext(d.t.Context(), sqlText(query), args...).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return s
}

func bcryptOf(t *testing.T, minor, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), 5)
	if err != nil {
		t.Fatal(err)
	}
	return "$2" + minor + string(b[3:])
}

func argonOf(t *testing.T, memory uint32, password string) string {
	t.Helper()
	h, err := doorward.NewHasher(doorward.HasherConfig{Memory: memory, Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := h.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return hash.Encoded()
}

// TestImportedUsersSignIn with what they have, and their hashes are ours from then on.
func TestImportedUsersSignIn(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "hashing=real", "lockout.attempts=100")
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": {"lab"}})
		lines := "# our people\n\n"
		names := []string{"y2", "a2", "b2", "argon", "strong"}
		for i, n := range []string{"y", "a", "b"} {
			lines += names[i] + ":" + bcryptOf(t, n, "password of "+names[i]) + "\r\n"
		}
		lines += "argon:" + argonOf(t, 4096, "password of argon") + "\n"
		lines += "strong:" + argonOf(t, 32*1024, "password of strong") // without a line end
		file := write(t, "users.htpasswd", lines)
		args := []string{"user", "import", file, "--role", "editor", "--org", "acme", "--workspace", "lab"}
		if got := d.prints(append(args, "--dry-run")...); got != "nothing is wrong; without --dry-run this would import 5 users into organization acme\n" {
			t.Error(got)
		}
		d.lists(root, "/api/auth/users", "users", "username", "", inOrg("acme"))
		if got := d.prints(args...); got != "imported 5 users into organization acme\n" {
			t.Error(got)
		}
		d.lists(root, "/api/auth/users", "users", "username", "a2 argon b2 strong y2", inOrg("acme"))
		for _, n := range names {
			d.login(n, "password of "+n+"x").refused(http.StatusUnauthorized, "invalid credentials")
			before := d.text(`SELECT password FROM users WHERE username = ?`, n)
			token, _ := d.signIn(n, "password of "+n)
			if got := d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusOK); got.str("role") != "editor" || !strings.Contains(got.body, `"workspaces":["lab"]`) || got.str("org_id") != "acme" {
				t.Error(got.body)
			}
			if after := d.text(`SELECT password FROM users WHERE username = ?`, n); after == before || !strings.HasPrefix(after, "$argon2id$v=19$m=19456,t=2,p=1$") {
				t.Errorf("%s: %s", n, after)
			}
			d.signIn(n, "password of "+n)
			d.login(n, "password of "+n+"x").refused(http.StatusUnauthorized, "invalid credentials")
		}
		if len(d.log.String()) == 0 || strings.Contains(d.log.String(), "$2") {
			t.Error("a hash in the log")
		}

		// JSON.
		list := fmt.Sprintf(`[
  {"username": "json-1", "role": "admin", "workspaces": ["default", "lab"], "password_hash": %q},
  {"username": "json-2", "password": "password of json-2", "must_change": true},
  {"username": "json-3", "role": "viewer", "password": "password of json-3", "disabled": true}
]`, bcryptOf(t, "b", "password of json-1"))
		if got := d.doesTyping(list, "user", "import", "-", "--role", "viewer", "--org", "acme", "--json"); strings.TrimSpace(got) != `{"dry_run":false,"users":3}` {
			t.Error(got)
		}
		if got := d.login("json-1", "password of json-1").want(http.StatusOK).str("user.role"); got != "admin" {
			t.Error(got)
		}
		if got := d.login("json-2", "password of json-2").want(http.StatusOK); got.str("user.role") != "viewer" || got.field("must_change") != true {
			t.Error(got.body)
		}
		d.login("json-3", "password of json-3").refused(http.StatusUnauthorized, "invalid credentials")
	})
}

// TestAnImportIsAllOrNothing, and says what is wrong with each line.
func TestAnImportIsAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		hash := bcryptOf(t, "y", "password of x")
		for name, c := range map[string]struct {
			file string
			want []string // lines, FILE for the name
		}{
			"hashes that are not read": {
				"good:" + hash + "\nsha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nmd5:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\nsix:$6$abc$def\nold:rl.3StKT.4T8M\nplain:secret\nargon:$argon2i$v=19$m=1,t=1,p=1$a$b\ncut:$2y$05$abc\nslow:$2y$31$" + hash[7:] + "\nno line\n",
				[]string{
					"FILE:2: the password is hashed with SHA-1, which is guessed by the billion; give this user a new password with htpasswd -B, or take the line out and use: doorward user add",
					"FILE:3: the password is hashed with MD5, which is guessed by the million; give",
					"FILE:4: the password is hashed with SHA-crypt, which is not read here; give",
					"FILE:5: the password is hashed with crypt, which reads eight characters of it; give",
					"FILE:6: the password is neither a bcrypt nor an argon2id hash; give",
					"FILE:7: the password is hashed with a form of Argon2 other than argon2id, which is not read here; give",
					"FILE:10: is not a line of htpasswd, name:hash",
				},
			},
			"hashes that are damaged or would take forever": {
				"cut:$2y$05$abc\nslow:$2y$31$" + hash[7:] + "\nmuch:$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
				[]string{
					"FILE:1: password_hash: must be argon2id, or bcrypt of cost 4 to 14",
					"FILE:2: password_hash: must be argon2id, or bcrypt of cost 4 to 14",
					"FILE:3: password_hash: must be argon2id, or bcrypt of cost 4 to 14",
				},
			},
			"names that exist, twice or are none": {
				"good:" + hash + "\nROOT:" + hash + "\nGood:" + hash + "\na b:" + hash + "\n:" + hash + "\n",
				[]string{
					"FILE:2: username ROOT is taken",
					"FILE:3: username Good stands at FILE:1 too",
					"FILE:4: username: must have 1 to 64 of ASCII letters, digits and ._@+-",
					"FILE:5: username: must have 1 to 64 of ASCII letters, digits and ._@+-",
				},
			},
			"JSON": {
				"[\n{\"username\":\"a\",\"role\":\"Admin\",\"password\":\"password of a\"},\n{\"username\":\"b\",\"password\":\"short\"},\n{\"username\":\"c\"},\n" +
					"{\"username\":\"d\",\"password\":\"password of d\",\"workspaces\":[\"none\"]},\n{\"username\":\"root\",\"password\":\"password of root\"}]",
				[]string{
					"FILE:2: role: must be one of superadmin, admin, editor, viewer",
					"FILE:3: password: must have at least 8 characters",
					"FILE:4: password: is needed, or a hash of one, and not both",
					"FILE:5: workspaces: organization default has no workspace of that name",
					"FILE:6: username root is taken",
				},
			},
			"JSON of another kind": {
				"[\n{\"username\":\"a\",\"password\":7},\n{\"user\":\"b\"},\n7,\n{\"username\":\"c\"} x",
				[]string{"FILE:2: must be an object with", "FILE:3: must be an object with", "FILE:4: must be an object with", "FILE:5: is not valid JSON"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				file := write(t, "users", c.file)
				for _, more := range [][]string{nil, {"--dry-run"}} {
					status, stdout, stderr := d.command(append([]string{"user", "import", file, "--role", "viewer"}, more...)...)
					lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(stderr, file, "FILE"), "\n"), "\n")
					if status != 1 || stdout != "" || len(lines) != len(c.want) {
						t.Fatalf("status %d, %s\n%s", status, stdout, stderr)
					}
					for i, line := range lines {
						if !strings.HasPrefix(line, "doorward: "+c.want[i]) || strings.Contains(line, "W6ph") || strings.Contains(line, "secret") {
							t.Errorf("line %d: %s, want %s", i+1, line, c.want[i])
						}
					}
				}
				d.lists(root, "/api/auth/users", "users", "username", "root")
			})
		}
		d.fails("cannot open /nonexistent/f: no such file or directory", "", "user", "import", "/nonexistent/f", "--role", "viewer")
	})
}

// TestEN3ImportedAccountsTakeAsLong to refuse as nobody's where their hash is cheaper than ours.
func TestEN3ImportedAccountsTakeAsLong(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "hashing=real", "lockout.attempts=1000", "rate_limits.enabled=false")
	d.setUp()
	file := write(t, "users.htpasswd", "bcrypt:"+bcryptOf(t, "y", "password of bcrypt")+"\nargon:"+argonOf(t, 8192, "password of argon")+"\n")
	d.prints("user", "import", file, "--role", "viewer")
	took := map[string][]time.Duration{}
	wrong := ""
	for range 6 { // on a busy machine it takes more of them until the fast ones say what there is to say
		for range 8 {
			for _, name := range []string{"bcrypt", "argon", "root", "nobody"} {
				began := time.Now()
				d.login(name, "a wrong password").refused(http.StatusUnauthorized, "invalid credentials")
				took[name] = append(took[name], time.Since(began))
			}
		}
		wrong = ""
		for _, all := range took {
			slices.Sort(all)
		}
		for _, name := range []string{"bcrypt", "argon", "root"} {
			third := len(took[name]) / 3
			if a, b := took[name][third], took["nobody"][third]; a > b*3/2 || b > a*3/2 {
				wrong += fmt.Sprintf("%s takes %v, nobody %v; ", name, a, b)
			}
		}
		if wrong == "" {
			return
		}
	}
	t.Error(wrong)
}

// TestARunningServerNoticesUsersAndPlaces within 250 ms, the real program for both.
func TestARunningServerNoticesUsersAndPlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveProgram(t, "--data-dir", dir)
	d := &door{t: t, URL: "http://" + s.addr, dir: dir, flags: map[string]string{}}
	d.doesTyping(rootPassword, "user", "add", "root", "--role", "superadmin", "--password-stdin")
	rootToken, _ := d.signIn("root", rootPassword)
	d.doesTyping("password of ann", "user", "add", "ann", "--role", "viewer", "--password-stdin")
	var ends, begins []time.Duration
	for i := range 5 {
		token, _ := d.signIn("ann", "password of ann")
		d.do("GET", "/api/pipelines", bearer(token)).want(http.StatusOK)
		role := []string{"editor", "viewer"}[i%2]
		if got := doorwardPrints(t, "user", "set-role", "ann", role, "--data-dir", dir); got != "ann is "+role+" now\n" {
			t.Error(got)
		}
		began := time.Now()
		until(t, time.Second, "a changed user's token is refused", func() bool {
			return d.do("GET", "/api/pipelines", bearer(token)).status == http.StatusUnauthorized
		})
		ends = append(ends, time.Since(began))
		org := fmt.Sprintf("org-%d", i)
		doorwardPrints(t, "org", "create", org, "--data-dir", dir)
		began = time.Now()
		until(t, time.Second, "a new organization is known", func() bool {
			return d.do("GET", "/api/pipelines", bearer(rootToken), inOrg(org)).status == http.StatusOK
		})
		begins = append(begins, time.Since(began))
	}
	promptly(t, "a token ends", ends)
	promptly(t, "an organization is known", begins)
}
