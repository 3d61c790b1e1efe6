package api

import (
	"net/http"
	"sync"

	"doorward"
	"doorward/gate"
)

// Config is what the handlers need. Authority is required.
type Config struct {
	Authority   *doorward.Authority
	Prefix      string // before /auth/ and /api/auth/
	CookieName  string
	Health      *Health      // nil: no health doors
	HealthPath  string       // "" with Health nil
	Metrics     http.Handler // nil: no metrics door
	MetricsPath string
	JWKSPath    string // "": no door of public keys
	InvitePage  string // where people open invite links
}

type api struct {
	Config
	document func() string // OpenAPI, made when it is first asked for
}

// Doors is the table of doors: every request that is answered here rather than by the
// service behind, what it reads and what it needs. docs/doors.md is made from it, and with
// what operations.go says of each, the OpenAPI document.
func Doors(c Config) []gate.Door {
	a := &api{Config: c}
	auth, human := c.Prefix+"/auth", c.Prefix+"/api/auth"
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	admin, superadmin := doorward.NeedRole(doorward.Admin), doorward.NeedRole(doorward.Superadmin)
	doors := []gate.Door{
		// machines
		{Method: post, Pattern: auth + "/token", Reads: gate.ReadsHeaders, Need: doorward.NeedSecret, Handle: a.token},
		{Method: post, Pattern: auth + "/refresh", Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: a.refresh},
		{Method: post, Pattern: auth + "/validate", Reads: gate.ReadsHeaders, Need: doorward.NeedAccessToken, Handle: a.validate},
		{Method: get, Pattern: auth + "/validate", Reads: gate.ReadsHeaders, Need: doorward.NeedAccessToken, Handle: a.validate},
		{Method: post, Pattern: auth + "/logout", Reads: gate.ReadsBearerItself, Need: doorward.NeedNothing, Handle: a.revoke},
		// people
		{Method: post, Pattern: human + "/login", Reads: gate.ReadsNothing, Need: doorward.NeedNothing, SameOrigin: true, Handle: a.login},
		{Method: post, Pattern: human + "/logout", Reads: gate.ReadsItself, Need: doorward.NeedNothing, SameOrigin: true, Handle: a.logout},
		{Method: get, Pattern: human + "/me", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, MustChange: true, Handle: a.me},
		{Method: get, Pattern: human + "/setup", Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: a.setup},
		{Method: post, Pattern: human + "/invite", Reads: gate.ReadsNothing, Need: doorward.NeedNothing, SameOrigin: true, Handle: a.acceptInvite},
		{Method: post, Pattern: human + "/change-password", Reads: gate.ReadsAll, Need: doorward.NeedPerson, MustChange: true, Handle: a.changePassword},
		{Method: get, Pattern: human + "/sessions", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.listSessions},
		{Method: del, Pattern: human + "/sessions", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.endSessions},
		{Method: del, Pattern: human + "/sessions/{id}", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.endSession},
		{Method: get, Pattern: human + "/activity", Reads: gate.ReadsAll, Need: doorward.NeedPerson, Handle: a.activity},
		// administration
		{Method: post, Pattern: human + "/users", Reads: gate.ReadsAll, Need: admin, NoCredential: a.noUsers, Handle: a.createUser},
		{Method: get, Pattern: human + "/users", Reads: gate.ReadsAll, Need: admin, Handle: a.listUsers},
		{Method: get, Pattern: human + "/users/{id}", Reads: gate.ReadsAll, Need: admin, Handle: a.showUser},
		{Method: post, Pattern: human + "/users/{id}/invite", Reads: gate.ReadsAll, Need: admin, Handle: a.inviteUser},
		{Method: post, Pattern: human + "/users/{id}/unlock", Reads: gate.ReadsAll, Need: admin, Handle: a.unlockUser},
		{Method: patch, Pattern: human + "/users/{id}", Reads: gate.ReadsAll, Need: admin, Handle: a.changeUser},
		{Method: del, Pattern: human + "/users/{id}", Reads: gate.ReadsAll, Need: admin, Handle: a.deleteUser},
		{Method: post, Pattern: human + "/admin-reset-password", Reads: gate.ReadsAll, Need: admin, Handle: a.resetPassword},
		// API keys: the verb asks whose they are
		{Method: get, Pattern: human + "/keys", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.listKeys},
		{Method: post, Pattern: human + "/keys", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.createKey},
		{Method: del, Pattern: human + "/keys/{id}", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.revokeKey},
		{Method: post, Pattern: human + "/keys/{id}/rotate", Reads: gate.ReadsAll, Need: doorward.NeedAnybody, Handle: a.rotateKey},
		// tenants
		{Method: get, Pattern: human + "/organizations", Reads: gate.ReadsAll, Need: superadmin, Handle: a.listOrganizations},
		{Method: post, Pattern: human + "/organizations", Reads: gate.ReadsAll, Need: superadmin, Handle: a.createOrganization},
		{Method: patch, Pattern: human + "/organizations/{id}", Reads: gate.ReadsAll, Need: superadmin, Handle: a.renameOrganization},
		{Method: del, Pattern: human + "/organizations/{id}", Reads: gate.ReadsAll, Need: superadmin, Handle: a.deleteOrganization},
		{Method: get, Pattern: human + "/workspaces", Reads: gate.ReadsAll, Need: admin, Handle: a.listWorkspaces},
		{Method: post, Pattern: human + "/workspaces", Reads: gate.ReadsAll, Need: admin, Handle: a.createWorkspace},
		{Method: patch, Pattern: human + "/workspaces/{id}", Reads: gate.ReadsAll, Need: admin, Handle: a.renameWorkspace},
		{Method: del, Pattern: human + "/workspaces/{id}", Reads: gate.ReadsAll, Need: admin, Handle: a.deleteWorkspace},
		{Method: get, Pattern: human + "/workspaces/{id}/members", Reads: gate.ReadsAll, Need: admin, Handle: a.listMembers},
		{Method: post, Pattern: human + "/workspaces/{id}/members", Reads: gate.ReadsAll, Need: admin, Handle: a.addMember},
		{Method: del, Pattern: human + "/workspaces/{id}/members/{user}", Reads: gate.ReadsAll, Need: admin, Handle: a.removeMember},
		{Method: get, Pattern: human + "/audit", Reads: gate.ReadsAll, Need: admin, Handle: a.audit},
		// the door itself
		{Method: get, Pattern: human + "/overview", Reads: gate.ReadsAll, Need: admin, Handle: a.overview},
		{Method: get, Pattern: human + "/refusals", Reads: gate.ReadsAll, Need: admin, Handle: a.refusals},
		{Method: get, Pattern: human + "/routes", Reads: gate.ReadsAll, Need: admin, Handle: a.rules},
		{Method: get, Pattern: human + "/explain", Reads: gate.ReadsAll, Need: admin, Handle: a.explain},
		{Method: get, Pattern: human + "/signing-keys", Reads: gate.ReadsAll, Need: superadmin, Handle: a.signingKeys},
		{Method: post, Pattern: human + "/signing-keys/rotate", Reads: gate.ReadsAll, Need: superadmin, Handle: a.rotateSigningKeys},
	}
	if c.Health != nil && c.HealthPath != "" {
		health := func(path string, h func(http.ResponseWriter, *http.Request, *gate.Pass) error) gate.Door {
			return gate.Door{Method: get, Pattern: c.HealthPath + path, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h}
		}
		doors = append(doors, health("", c.Health.all), health("/live", c.Health.live), health("/ready", c.Health.ready))
	}
	if c.Metrics != nil && c.MetricsPath != "" {
		doors = append(doors, gate.Door{Method: get, Pattern: c.MetricsPath, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: a.metrics})
	}
	if c.JWKSPath != "" {
		doors = append(doors, gate.Door{Method: get, Pattern: c.JWKSPath, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: a.jwks})
	}
	doors = append(doors, gate.Door{Method: get, Pattern: auth + "/openapi.json", Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: a.openAPI})
	a.document = sync.OnceValue(func() string { return string(describe(c, doors)) })
	return doors
}

func (a *api) metrics(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	a.Metrics.ServeHTTP(w, r)
	return nil
}
