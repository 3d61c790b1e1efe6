-- +goose Up

-- Times are milliseconds since 1970 (UTC), 0 for "not" or "never". Truths are 0 or 1.
-- Ids are case-sensitive text. Of a secret only a hash is ever here.

-- What belongs to the installation as a whole: one row.
CREATE TABLE meta (
	id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	salt        BLOB CHECK (salt IS NULL OR length(salt) = 32),
	initialised INTEGER NOT NULL CHECK (initialised IN (0, 1))
) STRICT;

INSERT INTO meta (id, salt, initialised) VALUES (1, NULL, 0);

-- Ids of organizations and workspaces are slugs; lists of them are joined by commas.
CREATE TABLE organizations (
	id      TEXT NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 63 AND id NOT GLOB '*[^a-z0-9-]*'),
	name    TEXT NOT NULL,
	created INTEGER NOT NULL
) STRICT;

CREATE TABLE workspaces (
	org     TEXT NOT NULL REFERENCES organizations (id),
	id      TEXT NOT NULL CHECK (length(id) BETWEEN 1 AND 63 AND id NOT GLOB '*[^a-z0-9-]*'),
	name    TEXT NOT NULL,
	created INTEGER NOT NULL,
	PRIMARY KEY (org, id)
) STRICT;

INSERT INTO organizations (id, name, created) VALUES ('default', 'default', 0);
INSERT INTO workspaces (org, id, name, created) VALUES ('default', 'default', 'default', 0);

CREATE TABLE users (
	id          TEXT NOT NULL PRIMARY KEY,
	username    TEXT NOT NULL,
	canonical   TEXT NOT NULL UNIQUE,
	password    TEXT NOT NULL, -- argon2id, encoded; empty for none
	role        TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'superadmin')),
	org         TEXT NOT NULL REFERENCES organizations (id),
	disabled    INTEGER NOT NULL CHECK (disabled IN (0, 1)),
	must_change INTEGER NOT NULL CHECK (must_change IN (0, 1)),
	version     INTEGER NOT NULL,
	created     INTEGER NOT NULL,
	updated     INTEGER NOT NULL
) STRICT;

CREATE INDEX users_page ON users (org, canonical);       -- a page of an organization's people
CREATE INDEX users_census ON users (role) WHERE disabled = 0;

CREATE TABLE memberships (
	user_id   TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	org       TEXT NOT NULL,
	workspace TEXT NOT NULL,
	PRIMARY KEY (user_id, org, workspace),
	FOREIGN KEY (org, workspace) REFERENCES workspaces (org, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_members ON memberships (org, workspace);

CREATE TABLE api_keys (
	id            TEXT NOT NULL PRIMARY KEY,
	sha256        BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
	prefix        TEXT NOT NULL,                         -- its first characters, for recognition
	name          TEXT NOT NULL,
	role          TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'superadmin')),
	org           TEXT NOT NULL,
	workspace     TEXT NOT NULL,
	owner         TEXT REFERENCES users (id) ON DELETE CASCADE,
	service       INTEGER NOT NULL CHECK (service IN (0, 1)),
	client_ids    TEXT NOT NULL,                         -- joined by commas; empty for any
	created       INTEGER NOT NULL,
	expires       INTEGER NOT NULL,
	last_used     INTEGER NOT NULL,
	revoked       INTEGER NOT NULL,
	rotated_to    TEXT REFERENCES api_keys (id) ON DELETE SET NULL,
	overlap_until INTEGER NOT NULL,                      -- after rotation, when this one stops
	CHECK ((owner IS NULL) = (service = 1)),
	FOREIGN KEY (org, workspace) REFERENCES workspaces (org, id)
) STRICT;

CREATE INDEX api_keys_owner ON api_keys (owner);
CREATE INDEX api_keys_page ON api_keys (org, workspace, id);
CREATE INDEX api_keys_rotated ON api_keys (rotated_to);

CREATE TABLE sessions (
	id           TEXT NOT NULL PRIMARY KEY,
	kind         TEXT NOT NULL,
	subject      TEXT NOT NULL,
	credential   TEXT NOT NULL,
	configured   INTEGER NOT NULL CHECK (configured IN (0, 1)),
	terms        TEXT NOT NULL,
	org          TEXT NOT NULL,
	workspaces   TEXT NOT NULL,
	created      INTEGER NOT NULL,
	ends         INTEGER NOT NULL,
	access_until INTEGER NOT NULL,
	ended        INTEGER NOT NULL,
	end_reason   TEXT NOT NULL,
	prev         TEXT NOT NULL,
	head         TEXT NOT NULL,
	child        TEXT NOT NULL,
	gen          INTEGER NOT NULL,
	fork         INTEGER NOT NULL,
	minted       INTEGER NOT NULL,
	address      TEXT NOT NULL,
	user_agent   TEXT NOT NULL
) STRICT;

-- A refresh changes none of these columns, so it writes one page of the table and no index.
CREATE INDEX sessions_live ON sessions (credential, ends) WHERE ended = 0;
CREATE INDEX sessions_configured ON sessions (credential, terms) WHERE configured = 1 AND ended = 0;
CREATE INDEX sessions_ended ON sessions (access_until, id, ended) WHERE ended > 0; -- holds all that is listed
CREATE INDEX sessions_prune ON sessions (ends);

CREATE TABLE lockouts (
	account      TEXT NOT NULL PRIMARY KEY,
	times        TEXT NOT NULL,                          -- of the failures, oldest first, joined by commas
	locked_until INTEGER NOT NULL,
	last         INTEGER NOT NULL
) STRICT;

CREATE INDEX lockouts_prune ON lockouts (last);

CREATE TABLE audit (
	id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	time       INTEGER NOT NULL,
	action     TEXT NOT NULL,
	actor_kind TEXT NOT NULL,
	actor      TEXT NOT NULL,
	actor_name TEXT NOT NULL,
	target     TEXT NOT NULL,
	org        TEXT NOT NULL,
	address    TEXT NOT NULL,
	request_id TEXT NOT NULL,
	detail     TEXT NOT NULL
) STRICT;

CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_org ON audit (org, time);
