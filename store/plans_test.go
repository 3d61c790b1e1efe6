package store

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorward"
)

// hash is a password's, as doorward.ParsePasswordHash takes it.
const hash doorward.PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

var (
	noted   = doorward.AuditEntry{Action: "test", ActorKind: doorward.KindUser, Actor: "usr_a", ActorName: "anna", Target: "x", Org: "default", Address: "192.0.2.1", RequestID: "r1", Detail: "in words"}
	anybody = func(doorward.User) error { return nil }
	anyone  = func(doorward.User, doorward.Census) error { return nil }
	demote  = func(u doorward.User, _ doorward.Census) (doorward.User, error) {
		u.Role, u.Workspaces = doorward.Viewer, nil
		return u, nil
	}
	lockSoon = doorward.LockoutPolicy{Attempts: 3, Window: time.Hour, Duration: time.Hour}
)

func person(id, name string) doorward.User {
	return doorward.User{ID: id, Username: name, Role: doorward.Admin, Org: doorward.Default, Workspaces: []string{doorward.Default}}
}

func session(id, credential string, c *clock) doorward.Session {
	return doorward.Session{
		ID: id, Kind: doorward.KindClient, Subject: "my-app", Credential: credential, Configured: true, Terms: "editor", Org: doorward.Default,
		Workspaces: doorward.Default, Created: c.now(), Ends: c.now().Add(24 * time.Hour), AccessUntil: c.now().Add(time.Hour),
		Chain: doorward.Chain{Head: "j0", Minted: c.now()},
	}
}

// exercise runs every statement there is.
func exercise(t *testing.T, s *Store, c *clock) {
	t.Helper()
	ctx := t.Context()
	try := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := s.Salt(ctx, make([]byte, saltSize))
	try("salt", err)
	_, err = s.CreateFirstUser(ctx, person("usr_a", "anna"), hash, noted)
	try("first user", err)
	try("user", s.CreateUser(ctx, person("usr_b", "berta"), hash, noted))
	_, _, err = s.User(ctx, "usr_a")
	try("by id", err)
	_, _, _, err = s.UserByName(ctx, "anna")
	try("by name", err)
	_, _, err = s.Users(ctx, doorward.UserQuery{Org: doorward.Default, Search: "a", Limit: 10})
	try("users", err)
	for _, q := range []doorward.UserQuery{{Limit: 10}, {Search: "x", Limit: 10}, {Search: "x", After: "~a", Limit: 10}} {
		q.Org = doorward.Default
		_, _, err = s.Users(ctx, q)
		try("users", err)
	}
	try("import", s.CreateUsers(ctx, []doorward.NewAccount{{User: person("usr_i", "ida"), Hash: hash, Audit: noted}}))
	try("organization", s.CreateOrganization(ctx, doorward.Organization{ID: "acme", Name: "Acme"}, noted))
	_, _, err = s.RenameOrganization(ctx, "acme", "Acme Ltd", noted)
	try("rename", err)
	_, err = s.CreateWorkspace(ctx, doorward.Workspace{Org: doorward.Default, ID: "lab", Name: "lab"}, "usr_a", anybody, noted)
	try("workspace", err)
	_, _, err = s.RenameWorkspace(ctx, doorward.Default, "lab", "the lab", noted)
	try("rename", err)
	_, _, err = s.Workspace(ctx, doorward.Default, "lab")
	try("read workspace", err)
	_, err = s.Members(ctx, doorward.MemberQuery{Org: doorward.Default, Workspace: "lab", Limit: 10})
	try("members", err)
	_, _, err = s.Organizations(ctx, doorward.PlaceQuery{Limit: 10})
	try("organizations", err)
	_, _, err = s.Workspaces(ctx, doorward.PlaceQuery{Org: doorward.Default, Limit: 10})
	try("workspaces", err)
	for _, org := range []string{"", "acme"} {
		try("places", s.Places(ctx, org, func(doorward.Organization, []string) error { return nil }))
	}
	_, _, err = s.DeleteWorkspace(ctx, doorward.Default, "lab", "usr_a", func(doorward.Occupants) error { return nil }, noted)
	try("delete workspace", err)
	_, err = s.DeleteOrganization(ctx, "acme", func(doorward.Occupants) error { return nil }, noted)
	try("delete organization", err)
	for range 4 {
		_, err = s.CountFailure(ctx, "anna", lockSoon, noted)
		try("count", err)
	}
	_, err = s.LockedFor(ctx, "anna")
	try("locked", err)
	try("sign in", s.SignIn(ctx, session("ses_a", "usr_a", c), 2, "anna", 10, noted))
	try("create session", s.CreateSession(ctx, session("ses_m", "tok_1", c), 10, noted))
	_, _, err = s.Session(ctx, "ses_a")
	try("session", err)
	_, err = s.AdvanceRefresh(ctx, "ses_m", func(at doorward.RefreshState) doorward.RefreshDecision {
		return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: at.Session.Chain}
	}, noted)
	try("refresh", err)
	for _, q := range []doorward.SessionQuery{{}, {User: "usr_a"}, {Credential: "tok_1"}} {
		try("list sessions", s.Sessions(ctx, q, func(doorward.ListedSession) error { return nil }))
	}
	for _, q := range []doorward.SessionQuery{{User: "usr_a"}, {Credential: "tok_1"}} {
		_, err = s.SessionPage(ctx, q, doorward.SessionMark{}, 10)
		try("page of sessions", err)
	}
	for _, q := range []doorward.OrgSessionQuery{{Limit: 10}, {Search: "x", Limit: 10}} {
		q.Org = doorward.Default
		_, _, err = s.OrgSessions(ctx, q, func(doorward.HeldSession) bool { return true })
		try("sessions of an organization", err)
	}
	_, _, err = s.HeldSession(ctx, "ses_a")
	try("held session", err)
	_, err = s.LastSessionEnd(ctx)
	try("last end", err)
	_, _, err = s.EndSession(ctx, "ses_a", "x", noted)
	try("end", err)
	_, err = s.EndUnconfigured(ctx, nil, noted)
	try("unconfigured", err)
	for _, q := range []doorward.SessionQuery{{Credential: "tok_1"}, {User: "usr_a"}, {}} {
		_, err = s.EndSessions(ctx, q, "x", noted)
		try("end sessions", err)
	}
	try("set kid", s.SetKeyID(ctx, "kid", noted))
	_, err = s.KeyID(ctx)
	try("kid", err)
	_, err = s.LastChange(ctx)
	try("last change", err)
	_, err = s.Changes(ctx, 0, func(doorward.Change) error { return nil })
	try("changes", err)
	try("ended", s.EndedSessions(ctx, func(doorward.EndedSession) error { return nil }))
	exerciseKeys(t, s)
	_, _, err = s.SetPassword(ctx, doorward.NewPassword{UserID: "usr_a", Hash: hash}, anybody, noted)
	try("password", err)
	try("upgrade", s.UpgradePassword(ctx, "usr_a", 1, hash))
	_, _, _, err = s.ChangeUser(ctx, "usr_a", demote, noted)
	try("change", err)
	_, _, err = s.DeleteUser(ctx, "usr_a", anyone, noted)
	try("delete", err)
	_, err = s.State(ctx)
	try("state", err)
	try("keep device", func() error {
		_, err := s.KeepDevice(ctx, doorward.Device{Hash: doorward.DeviceHash{1}, User: "usr_b"})
		return err
	}())
	_, _, err = s.Device(ctx, "berta", []doorward.DeviceHash{{1}, {2}})
	try("device", err)
	_, err = s.CreateInvited(ctx, person("usr_n", "nora"), doorward.SecretHash{1}, time.Hour, noted, noted)
	try("create invited", err)
	_, _, err = s.Invite(ctx, "usr_b", doorward.SecretHash{2}, time.Hour, anybody, noted)
	try("invite", err)
	_, _, err = s.Invited(ctx, doorward.SecretHash{2})
	try("invited", err)
	for _, ids := range [][]string{{"usr_b"}, {"usr_b", "usr_n"}} {
		_, err = s.Standings(ctx, ids)
		try("standings", err)
	}
	_, err = s.Holdings(ctx, "usr_b")
	try("holdings", err)
	_, _, _, err = s.AcceptInvite(ctx, doorward.SecretHash{1}, doorward.NewPassword{UserID: "usr_n", Hash: hash}, noted)
	try("accept", err)
	try("forget failures", s.ForgetFailures(ctx, "anna", "r1"))
	try("ping", s.Ping(ctx))
	try("write audit", s.WriteAudit(ctx, noted))
	for _, q := range []doorward.AuditQuery{
		{}, {Orgs: []string{"default", ""}}, {Orgs: []string{"default"}, Action: "user.create"}, {Orgs: []string{"default"}, Action: "tes."},
		{Orgs: []string{"default"}, Actor: "usr_a"}, {Orgs: []string{"default"}, Target: "x"}, {Orgs: []string{"default"}, RequestID: "r1"},
	} {
		_, err = s.Audit(ctx, q)
		try("audit", err)
	}
	_, err = s.CountByHour(ctx, []string{"default", ""}, c.now())
	try("count", err)
	_, err = s.LockedAccounts(ctx, "default", 10)
	try("locked accounts", err)
	try("prune audit", s.PruneAudit(ctx, time.Hour))
	try("prune", s.Prune(ctx, time.Hour))
}

// exerciseKeys runs every statement about API keys.
func exerciseKeys(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	try := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	fine := func(doorward.KeyState) error { return nil }
	rotation := func(id string, overlap time.Duration) func(doorward.KeyState, time.Time) (doorward.KeyRotation, error) {
		return func(k doorward.KeyState, now time.Time) (doorward.KeyRotation, error) {
			return doorward.KeyRotation{ID: id, Prefix: id, Hash: doorward.HashSecret(id), Role: k.Role, Until: now.Add(overlap), Limit: 10}, nil
		}
	}
	for _, k := range []doorward.Key{
		{ID: "key_a", Prefix: "brk_1", Name: "A", Role: doorward.Viewer, Org: doorward.Default, Workspace: doorward.Default, Owner: "usr_b"},
		{ID: "key_s", Prefix: "brk_2", Name: "S", Role: doorward.Viewer, Org: doorward.Default, Workspace: doorward.Default},
	} {
		_, err := s.CreateKey(ctx, k, doorward.HashSecret(k.ID), 10, anybody, noted)
		try("create key", err)
	}
	for _, q := range []doorward.KeyQuery{
		{}, {Owner: "usr_b", Search: "a"}, {Org: doorward.Default}, {Org: doorward.Default, Workspaces: []string{doorward.Default}, After: doorward.KeyPlace{Name: "a", ID: "key_a"}},
	} {
		_, err := s.Keys(ctx, q)
		try("keys", err)
	}
	_, err := s.CreateKeySession(ctx, "key_a", 10, func(k doorward.KeyState, now time.Time) (doorward.Session, error) {
		return doorward.Session{ID: "ses_k", Kind: doorward.KindClient, Credential: k.ID, Ends: now.Add(time.Hour)}, nil
	}, noted)
	try("key session", err)
	_, err = s.AdvanceRefresh(ctx, "ses_k", func(at doorward.RefreshState) doorward.RefreshDecision {
		return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: at.Session.Chain}
	}, noted)
	try("refresh", err)
	for _, ids := range [][]string{nil, {"key_a"}, {"key_a", "key_s"}} {
		try("load keys", s.LoadKeys(ctx, ids, func(doorward.KeyRecord) error { return nil }))
	}
	for _, ids := range [][]string{nil, {"usr_b"}, {"usr_a", "usr_b"}} {
		try("load holders", s.LoadHolders(ctx, ids, func(doorward.User) error { return nil }))
	}
	for _, ids := range [][]string{{"key_a"}, {"key_a", "key_s"}} {
		try("note uses", s.NoteKeyUses(ctx, ids))
	}
	_, _, _, _, err = s.RotateKey(ctx, "key_a", rotation("key_b", time.Hour), noted)
	try("rotate", err)
	_, _, _, _, err = s.RotateKey(ctx, "key_s", rotation("key_t", 0), noted)
	try("rotate at once", err)
	_, _, _, _, err = s.RotateKey(ctx, "key_t", rotation("key_u", time.Millisecond), noted)
	try("rotate", err)
	_, _, err = s.EndStoppedKeys(ctx, noted)
	try("end stopped", err)
	_, _, _, err = s.RevokeKey(ctx, "key_b", fine, noted)
	try("revoke", err)
	_, _, _, err = s.ChangeUser(ctx, "usr_b", demote, noted)
	try("demote", err)
}

// tieBreak sorts what is the same in all columns of the index but the last that is asked for.
const tieBreak = "USE TEMP B-TREE FOR LAST TERM OF ORDER BY"

// scans are the steps that may read a whole table or index, with the reason.
var scans = map[string]string{
	"SCAN users USING COVERING INDEX sqlite_autoindex_users_2": "stops at the first user",
	"SCAN users USING COVERING INDEX users_census":             "counts the enabled users by role, when one is changed",
	"SCAN users USING COVERING INDEX users_invited":            "likewise those who have no password yet, who are few",
	"SCAN api_keys USING COVERING INDEX api_keys_org":          "stops at the first key",
	"SCAN api_keys": "reads all keys, at start",
	"SCAN u":        "reads the owners of all keys, at start",
	"SCAN sessions USING COVERING INDEX sessions_configured": "the live sessions of configured credentials, at start",
	"SCAN o USING INDEX sqlite_autoindex_organizations_1":    "all organizations with their workspaces, at start",
}

func TestEveryStatementUsesAnIndex(t *testing.T) {
	t.Parallel()
	s, c := open(t, filepath.Join(t.TempDir(), "doorward.db"))
	exercise(t, s, c)
	w := <-s.turns
	defer func() { s.turns <- w }()
	var texts []string
	for text := range w.statements {
		texts = append(texts, text)
	}
	s.asked.Range(func(text, _ any) bool {
		texts = append(texts, text.(string))
		return true
	})
	if len(texts) < 30 {
		t.Fatalf("only %d statements were used", len(texts))
	}
	var args [102]any
	for i := range args {
		args[i] = "x"
	}
	hot := map[string]bool{ // each must be some statement's step
		"SEARCH sessions USING COVERING INDEX sessions_live (credential=? AND ends>?)":  false, // the limit
		"SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (id=?)":                false, // a session
		"SEARCH sessions USING COVERING INDEX sessions_ended (access_until>?)":          false, // the ended
		"SEARCH sessions USING INDEX sessions_prune (ends<?)":                           false,
		"SEARCH s USING INDEX sessions_page (org=? AND (listed,id)>(?,?) AND listed<?)": false, // of an organization
		"SEARCH lockouts USING INDEX lockouts_prune (last<?)":                           false,
		"SEARCH u USING INDEX users_page (org=? AND canonical>?)":                       false,
		// pages of the audit log
		"SEARCH audit USING INDEX audit_time (time>? AND time<?)":                                        false,
		"SEARCH audit USING INDEX audit_org (org=? AND time>? AND time<?)":                               false,
		"SEARCH audit USING INDEX audit_action (<expr>=? AND action=? AND time>? AND time<?)":            false,
		"SEARCH audit USING COVERING INDEX audit_action (<expr>=? AND action>? AND action<?)":            false,
		"SEARCH audit USING INDEX audit_actor (<expr>=? AND actor=? AND time>? AND time<?)":              false,
		"SEARCH audit USING INDEX audit_target (<expr>=? AND target=? AND time>? AND time<?)":            false,
		"SEARCH audit USING INDEX audit_request (request_id=? AND <expr>=? AND time>? AND time<?)":       false,
		"SEARCH audit USING COVERING INDEX audit_hours (org=? AND action=? AND <expr>>?)":                false, // counts
		"SEARCH l USING INDEX lockouts_locked (locked_until>?)":                                          false, // who is locked
		"SEARCH u USING INDEX users_page (org=? AND canonical>? AND canonical<?)":                        false, // a search
		"SEARCH memberships USING COVERING INDEX memberships_page (org=? AND workspace=? AND user_id>?)": false,
		"SEARCH organizations USING INDEX sqlite_autoindex_organizations_1 (id>?)":                       false,
		"SEARCH workspaces USING INDEX sqlite_autoindex_workspaces_1 (org=? AND id>?)":                   false,
	}
	for _, text := range texts {
		for _, step := range plan(t, w, text, args[:]) {
			if _, ok := hot[step]; ok {
				hot[step] = true
			}
			if strings.HasPrefix(step, "SCAN") && scans[step] == "" || strings.Contains(step, "TEMP B-TREE") && step != tieBreak {
				t.Errorf("%s\n%s", step, text)
			}
		}
	}
	for step, used := range hot {
		if !used {
			t.Errorf("no statement does this: %s", step)
		}
	}
}

// plan returns the steps that SQLite would take.
func plan(t *testing.T, w *writer, text string, args []any) []string {
	t.Helper()
	rows, err := w.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}
