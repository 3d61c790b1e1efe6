package api

import "net/http"

// operation is what the document says of one door, beside what its row in the table of
// doors says already. What follows from the row (credentials, and the refusals of a door
// that reads some, or a body, or an id) is not said again here.
type operation struct {
	method, pattern string
	id, tag, about  string
	query           []input
	takes           []input // of the body; nil: none is read
	asJSON          bool    // the body must say that it is JSON
	gives           answers
	refuses         []int // beside those that follow from the row
}

// answers are what a door gives, by status, when it does not refuse.
type answers map[int]given

// given is one answer. Its zero value has no body.
type given struct {
	body    any             // a value of the type that is marshalled
	says    any             // instead of body: a flat value whose fields are always what they are here
	other   map[string]node // by media type; beside the body, or instead of it
	headers map[string]node
}

func ok(body any) answers      { return answers{http.StatusOK: {body: body}} }
func said(says any) answers    { return answers{http.StatusOK: {says: says}} }
func created(body any) answers { return answers{http.StatusCreated: {body: body}} }
func done() answers            { return answers{http.StatusNoContent: {}} }

// page are the parameters of a list that is paged and searched.
func page(search string) []input {
	p := []input{may("after", "Mark", "Where the page begins: next of the page before."), may("limit", "PageSize", "How many a page has.")}
	if search != "" {
		p = append(p, may("search", "Search", search))
	}
	return p
}

// operations says of every door what it takes and gives. A test holds that none is missing.
func operations(c Config) []operation {
	auth, human := c.Prefix+"/auth", c.Prefix+"/api/auth"
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	const machines, people, administration, keys, tenants, server = "machines", "people", "administration", "keys", "tenants", "server"
	const conflict, missing, many, unavailable, unknown = http.StatusConflict, http.StatusNotFound,
		http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusUnauthorized

	users := human + "/users"
	user := []input{may("role", "Role", ""), {name: "workspaces", is: "[]Slug", least: 1, about: "Those in which the role holds."}, may("disabled", "bool", "")}
	whose := may("user", "Search", "The id of a user whom the caller manages; without it the caller's own.")
	cookieGiven := map[string]node{"Set-Cookie": header("SessionCookie")}
	cookieTaken := map[string]node{"Set-Cookie": header("EndedCookie")}
	cacheable := map[string]node{"ETag": header("ETag"), "Cache-Control": header("Cacheable")}
	cached := func(g given) answers {
		g.headers = cacheable
		return answers{http.StatusOK: g, http.StatusNotModified: {headers: cacheable}}
	}

	all := []operation{
		{
			method: post, pattern: auth + "/token", id: "exchange", tag: machines,
			about: "Exchanges an API token or an API key for the tokens of a new session.",
			takes: []input{need("client_id", "ClientID")}, gives: ok(grantBody{}),
		},
		{
			method: post, pattern: auth + "/refresh", id: "refresh", tag: machines,
			about: "Exchanges a refresh token for the next tokens of its session. After a lost answer ask again with the same one: within the retry window it gets the same answer.",
			takes: []input{need("refresh_token", "Token")}, gives: ok(grantBody{}), refuses: []int{unknown, unavailable},
		},
		{
			method: post, pattern: auth + "/validate", id: "validate", tag: machines,
			about: "Says whether the access token shown is good, and what it says.", gives: ok(validBody{}),
		},
		{
			method: get, pattern: auth + "/validate", id: "validateByGet", tag: machines,
			about: "Says whether the access token shown is good, and what it says.", gives: ok(validBody{}),
		},
		{
			method: post, pattern: auth + "/logout", id: "revoke", tag: machines,
			about: "Ends the session of the access token shown, its refresh token too. Again with the same unexpired token is no error.",
			gives: said(invalidatedBody{true, "token invalidated"}),
		},

		{
			method: post, pattern: human + "/login", id: "login", tag: people,
			about: "Signs a person in: a token for programs, a cookie for browsers.",
			takes: []input{need("username", "Username"), need("password", "Password")}, asJSON: true,
			gives:   answers{http.StatusOK: {body: loginBody{}, headers: cookieGiven}},
			refuses: []int{unknown, many, unavailable},
		},
		{
			method: post, pattern: human + "/logout", id: "logout", tag: people,
			about: "Ends the session of the token or cookie shown. The cookie goes in any case, even a dead one.",
			gives: answers{http.StatusOK: {says: invalidatedBody{true, "token invalidated"}, headers: cookieTaken}},
		},
		{method: get, pattern: human + "/me", id: "me", tag: people, about: "Says who the caller is, as this request acts: a person, a key or a client.", gives: ok(meBody{})},
		{method: get, pattern: human + "/setup", id: "needsSetup", tag: people, about: "Says whether the first user is still to be made.", gives: ok(setupBody{}), refuses: []int{unavailable}},
		{
			method: post, pattern: human + "/change-password", id: "changePassword", tag: people,
			about: "Changes the caller's own password and ends the caller's other sessions. A wrong current one is a 400 and counts towards the lock.",
			takes: []input{need("current_password", "Password"), need("new_password", "NewPassword")}, asJSON: true,
			gives: said(statusBody{"password changed"}), refuses: []int{missing, conflict},
		},
		{
			method: get, pattern: human + "/sessions", id: "listSessions", tag: people,
			about: "Lists the caller's own sessions, or those of a user whom an admin manages; with all=true, for admins, those of the organization that the request acts in, people's and machines', that the caller may end.",
			query: append(page("With all=true: a part of the person's name, of the client id or of the key's name."), whose, may("all", "bool", "true for those of the organization.")), gives: ok(sessionsBody{}), refuses: []int{missing},
		},
		{
			method: del, pattern: human + "/sessions", id: "endSessions", tag: people, about: "Ends all sessions but the one that asks.",
			query: []input{whose}, gives: done(), refuses: []int{missing},
		},
		{
			method: del, pattern: human + "/sessions/{id}", id: "endSession", tag: people, about: "Ends a session.",
			gives: answers{http.StatusNoContent: {headers: cookieTaken}},
		},

		{
			method: post, pattern: users, id: "createUser", tag: administration,
			about: "Makes a user; while there is none, the first, who is superadmin unless admin is asked for. The first is made without a credential in open mode, else with the setup code or the operator's key.",
			takes: []input{
				need("username", "Username"), may("password", "NewPassword", "Required but with invite."), may("role", "Role", "Required but for the first user."),
				may("workspaces", "[]Slug", "Those in which the role holds; without it the one that the request acts in."), may("must_change", "bool", "The password must be changed first."),
				may("invite", "bool", "Instead of a password: the user chooses it by a link, which the answer holds."),
			},
			asJSON: true, gives: created(createdUserBody{}), refuses: []int{missing, conflict},
		},
		{method: get, pattern: users, id: "listUsers", tag: administration, about: "Lists users.", query: page("A part of the username."), gives: ok(usersBody{})},
		{
			method: patch, pattern: users + "/{id}", id: "changeUser", tag: administration,
			about: "Changes what is given of a user, and ends the user's sessions.",
			takes: user, asJSON: true, gives: ok(userBody{}), refuses: []int{conflict},
		},
		{method: get, pattern: users + "/{id}", id: "showUser", tag: administration, about: "Says who a user is and how the account stands.", gives: ok(standingBody{})},
		{method: post, pattern: users + "/{id}/invite", id: "inviteUser", tag: administration, about: "Makes a link, good once, with which a user chooses a new password.", gives: created(inviteBody{}), refuses: []int{conflict}},
		{method: post, pattern: users + "/{id}/unlock", id: "unlockUser", tag: administration, about: "Ends the lock that wrong passwords have put on an account.", gives: done()},
		{
			method: post, pattern: human + "/invite", id: "acceptInvite", tag: people,
			about: "Lets who shows the code of an invite link choose a password, and signs them in.",
			takes: []input{need("code", "InviteCode"), need("password", "NewPassword")}, asJSON: true,
			gives: answers{http.StatusOK: {body: loginBody{}, headers: cookieGiven}}, refuses: []int{unknown, many, unavailable},
		},
		{method: del, pattern: users + "/{id}", id: "deleteUser", tag: administration, about: "Deletes a user, with the user's sessions and keys.", gives: done(), refuses: []int{conflict}},
		{
			method: post, pattern: human + "/admin-reset-password", id: "resetPassword", tag: administration,
			about: "Sets a user's password, unlocks the account and ends its sessions.",
			takes: []input{need("user_id", "UserID"), need("new_password", "NewPassword"), may("must_change", "bool", "It must be changed first.")}, asJSON: true,
			gives: said(statusBody{"password reset"}), refuses: []int{missing},
		},

		{method: get, pattern: human + "/keys", id: "listKeys", tag: keys, about: "Lists API keys: the caller's own, and those that the caller manages.", query: append(page("A part of the name."), may("mine", "bool", "true for the caller's own alone.")), gives: ok(keysBody{})},
		{
			method: post, pattern: human + "/keys", id: "createKey", tag: keys, about: "Makes an API key, of the caller's own or of the workspace.",
			takes: []input{
				need("name", "KeyName"), need("role", "Role"), may("workspace", "Slug", "Without it the one that the request acts in."),
				may("service", "bool", "It belongs to the workspace instead of the caller; for admins."),
				{name: "client_ids", is: "[]ClientID", least: 1, about: "The client ids that it may name; without it any."},
				may("expires_at", "AnyTime", ""), may("expires_in", "Duration", "Instead of expires_at."),
			},
			asJSON: true, gives: created(newKeyBody{}), refuses: []int{conflict},
		},
		{method: del, pattern: human + "/keys/{id}", id: "revokeKey", tag: keys, about: "Revokes an API key, and ends its sessions.", gives: done()},
		{
			method: post, pattern: human + "/keys/{id}/rotate", id: "rotateKey", tag: keys,
			about: "Makes a key that takes another's place, which lives on for the overlap.",
			takes: []input{may("overlap", "Duration", "24h unless given; 30d at most.")}, asJSON: true,
			gives: created(newKeyBody{}), refuses: []int{conflict},
		},

		{method: get, pattern: human + "/organizations", id: "listOrganizations", tag: tenants, about: "Lists organizations.", query: page("A part of the id or the name."), gives: ok(organizationsBody{})},
		{
			method: post, pattern: human + "/organizations", id: "createOrganization", tag: tenants, about: "Makes an organization, with a workspace default.",
			takes: []input{need("id", "Slug"), may("name", "PlaceName", "Its id unless given.")}, asJSON: true, gives: created(placeBody{}), refuses: []int{conflict},
		},
		{
			method: patch, pattern: human + "/organizations/{id}", id: "renameOrganization", tag: tenants, about: "Renames an organization.",
			takes: []input{need("name", "PlaceName")}, asJSON: true, gives: ok(placeBody{}),
		},
		{method: del, pattern: human + "/organizations/{id}", id: "deleteOrganization", tag: tenants, about: "Deletes an organization in which nobody is.", gives: done(), refuses: []int{conflict}},
		{method: get, pattern: human + "/workspaces", id: "listWorkspaces", tag: tenants, about: "Lists workspaces.", query: page("A part of the id or the name."), gives: ok(workspacesBody{})},
		{
			method: post, pattern: human + "/workspaces", id: "createWorkspace", tag: tenants, about: "Makes a workspace.",
			takes: []input{need("id", "Slug"), may("name", "PlaceName", "Its id unless given.")}, asJSON: true, gives: created(placeBody{}), refuses: []int{conflict, missing},
		},
		{
			method: patch, pattern: human + "/workspaces/{id}", id: "renameWorkspace", tag: tenants, about: "Renames a workspace.",
			takes: []input{need("name", "PlaceName")}, asJSON: true, gives: ok(placeBody{}),
		},
		{method: del, pattern: human + "/workspaces/{id}", id: "deleteWorkspace", tag: tenants, about: "Deletes a workspace in which nobody is.", gives: done(), refuses: []int{conflict}},
		{method: get, pattern: human + "/workspaces/{id}/members", id: "listMembers", tag: tenants, about: "Lists who is in a workspace.", query: page(""), gives: ok(membersBody{})},
		{
			method: post, pattern: human + "/workspaces/{id}/members", id: "addMember", tag: tenants, about: "Takes a user into a workspace.",
			takes: []input{need("user_id", "UserID")}, asJSON: true, gives: ok(userBody{}),
		},
		{method: del, pattern: human + "/workspaces/{id}/members/{user}", id: "removeMember", tag: tenants, about: "Takes a user out of a workspace.", gives: done(), refuses: []int{conflict}},
		{
			method: get, pattern: human + "/activity", id: "listActivity", tag: people,
			about: "Lists what the caller's own account has done, and what was done to the account itself, newest first; what others have done to its keys and sessions is in the audit log alone.", query: page(""), gives: ok(auditPage{}),
		},
		{
			method: get, pattern: human + "/audit", id: "listAudit", tag: administration, about: "Lists the audit log, newest first, or all of it as CSV.",
			query: append(page(""), may("actor", "Search", ""), may("action", "Search", "Exact, or a family with its dot: user."), may("target", "Search", ""),
				may("request_id", "Search", ""), may("from", "AnyTime", "That time on."), may("to", "AnyTime", "Before that time."),
				may("format", "AuditFormat", "Else what Accept asks for.")),
			gives: answers{http.StatusOK: {body: auditPage{}, other: map[string]node{"text/csv": {"type": "string"}}}},
		},
		{
			method: get, pattern: human + "/overview", id: "overview", tag: administration,
			about: "Tells how it goes at the door: sign-ins, failures and locks of the organization by the hour, who is locked, and health; to a superadmin also what this server has refused.",
			gives: ok(overviewBody{}),
		},
		{
			method: get, pattern: human + "/refusals", id: "listRefusals", tag: administration, about: "Lists the newest refusals of this server, or the one of a request.",
			query: []input{may("request_id", "Search", "The X-Request-ID of the answer."), may("limit", "PageSize", "How many at most.")}, gives: ok(refusalsBody{}),
		},
		{method: get, pattern: human + "/routes", id: "listRoutes", tag: administration, about: "Lists the rules about the service behind, in order.", query: page(""), gives: ok(rulesBody{})},
		{
			method: get, pattern: human + "/explain", id: "explain", tag: administration, about: "Says what the door would make of a request, and which rule decides.",
			query: []input{
				need("path", "Search"), may("method", "Search", "GET unless given."), may("host", "Search", "The one that this request names, unless given."),
				may("as", "Search", "A user, API token or the operator's key, by name; nobody unless given."), may("role", "Search", "Instead of a name: anybody with this role."),
				may("workspace", "Search", "Asked for with X-Workspace-ID."), may("organization", "Search", "Asked for with X-Organization-ID."),
			},
			gives: ok(explainedBody{}), refuses: []int{missing, conflict},
		},
		{method: get, pattern: human + "/signing-keys", id: "listSigningKeys", tag: administration, about: "Lists the keys that sign and verify here.", gives: ok(signingKeysBody{})},
		{
			method: post, pattern: human + "/signing-keys/rotate", id: "rotateSigningKeys", tag: administration, about: "Makes new keys sign from now on.",
			takes: []input{{name: "now", is: "bool", required: true, about: "true: what was signed before is refused, and everybody signs in again."}}, asJSON: true,
			gives: ok(rotatedBody{}), refuses: []int{conflict},
		},
		{
			method: get, pattern: auth + "/openapi.json", id: "openAPI", tag: server, about: "This document.",
			gives: cached(given{other: map[string]node{"application/json": {"type": "object", "required": []string{"openapi", "info", "paths"}}}}),
		},
	}
	if c.Health != nil && c.HealthPath != "" {
		all = append(all,
			operation{
				method: get, pattern: c.HealthPath, id: "health", tag: server, about: "Says whether the server can do its work, and what it depends on.",
				gives: answers{http.StatusOK: {body: healthBody{}}, http.StatusServiceUnavailable: {body: healthBody{}}},
			},
			operation{method: get, pattern: c.HealthPath + "/live", id: "live", tag: server, about: "Says that the process answers.", gives: said(statusBody{"ok"})},
			operation{method: get, pattern: c.HealthPath + "/ready", id: "ready", tag: server, about: "Says whether requests can be served.", gives: said(statusBody{"ok"}), refuses: []int{unavailable}},
		)
	}
	if c.Metrics != nil && c.MetricsPath != "" {
		text := node{"type": "string"}
		all = append(all, operation{
			method: get, pattern: c.MetricsPath, id: "metrics", tag: server, about: "What Prometheus collects.",
			gives: answers{http.StatusOK: {other: map[string]node{"text/plain": text, "application/openmetrics-text": text}}},
		})
	}
	if c.JWKSPath != "" {
		all = append(all, operation{
			method: get, pattern: c.JWKSPath, id: "publicKeys", tag: server, about: "The public keys by which access tokens and assertions can be verified (RFC 7517).",
			gives: cached(given{body: jwksBody{}}), refuses: []int{unavailable},
		})
	}
	return all
}
