-- +goose Up

-- Times are milliseconds since 1970 (UTC), 0 for "not" or "never". Truths are 0 or 1.
-- Ids are case-sensitive text. Of a secret only a hash is ever here.
--
-- What is indexed or ordered is COLLATE "C": compared byte by byte, as SQLite does, and
-- not as the operating system's library of today would have it.

-- What belongs to the installation as a whole: one row.
CREATE TABLE meta (
	id          SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
	salt        BYTEA CHECK (salt IS NULL OR length(salt) = 32),
	initialised SMALLINT NOT NULL CHECK (initialised IN (0, 1))
);

INSERT INTO meta (id, salt, initialised) VALUES (1, NULL, 0);

-- Ids of organizations and workspaces are slugs; lists of them are joined by commas.
CREATE TABLE organizations (
	id      TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,63}$'),
	name    TEXT NOT NULL,
	created BIGINT NOT NULL
);

CREATE TABLE workspaces (
	org     TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
	id      TEXT COLLATE "C" NOT NULL CHECK (id ~ '^[a-z0-9-]{1,63}$'),
	name    TEXT NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (org, id)
);

INSERT INTO organizations (id, name, created) VALUES ('default', 'default', 0);
INSERT INTO workspaces (org, id, name, created) VALUES ('default', 'default', 'default', 0);

CREATE TABLE users (
	id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	username    TEXT NOT NULL,
	canonical   TEXT COLLATE "C" NOT NULL UNIQUE,
	password    TEXT NOT NULL, -- argon2id, encoded; empty for none
	role        TEXT COLLATE "C" NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'superadmin')),
	org         TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
	disabled    SMALLINT NOT NULL CHECK (disabled IN (0, 1)),
	must_change SMALLINT NOT NULL CHECK (must_change IN (0, 1)),
	version     BIGINT NOT NULL,
	created     BIGINT NOT NULL,
	updated     BIGINT NOT NULL
);

CREATE INDEX users_page ON users (org, canonical);       -- a page of an organization's people
CREATE INDEX users_census ON users (role) WHERE disabled = 0;

CREATE TABLE memberships (
	user_id   TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	org       TEXT COLLATE "C" NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (user_id, org, workspace),
	FOREIGN KEY (org, workspace) REFERENCES workspaces (org, id)
);

CREATE INDEX memberships_members ON memberships (org, workspace);

CREATE TABLE api_keys (
	id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	sha256        BYTEA NOT NULL UNIQUE CHECK (length(sha256) = 32),
	prefix        TEXT NOT NULL,                         -- its first characters, for recognition
	name          TEXT NOT NULL,
	role          TEXT COLLATE "C" NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'superadmin')),
	org           TEXT COLLATE "C" NOT NULL,
	workspace     TEXT COLLATE "C" NOT NULL,
	owner         TEXT COLLATE "C" REFERENCES users (id) ON DELETE CASCADE,
	service       SMALLINT NOT NULL CHECK (service IN (0, 1)),
	client_ids    TEXT NOT NULL,                         -- joined by commas; empty for any
	created       BIGINT NOT NULL,
	expires       BIGINT NOT NULL,
	last_used     BIGINT NOT NULL,
	revoked       BIGINT NOT NULL,
	rotated_to    TEXT COLLATE "C" REFERENCES api_keys (id) ON DELETE SET NULL,
	overlap_until BIGINT NOT NULL,                       -- after rotation, when this one stops
	CHECK ((owner IS NULL) = (service = 1)),
	FOREIGN KEY (org, workspace) REFERENCES workspaces (org, id)
);

CREATE INDEX api_keys_owner ON api_keys (owner);
CREATE INDEX api_keys_page ON api_keys (org, workspace, id);
CREATE INDEX api_keys_rotated ON api_keys (rotated_to);

-- A refresh changes no column that any index here knows of, and finds room on the row's
-- own page; so it writes that page and no index (a heap-only update).
CREATE TABLE sessions (
	id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	kind         TEXT NOT NULL,
	subject      TEXT NOT NULL,
	credential   TEXT COLLATE "C" NOT NULL,
	configured   SMALLINT NOT NULL CHECK (configured IN (0, 1)),
	terms        TEXT COLLATE "C" NOT NULL,
	org          TEXT NOT NULL,
	workspaces   TEXT NOT NULL,
	created      BIGINT NOT NULL,
	ends         BIGINT NOT NULL,
	access_until BIGINT NOT NULL,
	ended        BIGINT NOT NULL,
	end_reason   TEXT NOT NULL,
	prev         TEXT NOT NULL,
	head         TEXT NOT NULL,
	child        TEXT NOT NULL,
	gen          BIGINT NOT NULL,
	fork         BIGINT NOT NULL,
	minted       BIGINT NOT NULL,
	address      TEXT NOT NULL,
	user_agent   TEXT NOT NULL
) WITH (fillfactor = 75);

CREATE INDEX sessions_live ON sessions (credential, ends) WHERE ended = 0;
CREATE INDEX sessions_configured ON sessions (credential, terms) WHERE configured = 1 AND ended = 0;
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended > 0; -- without access_until, which a refresh changes
CREATE INDEX sessions_prune ON sessions (ends);

CREATE TABLE lockouts (
	account      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	times        TEXT NOT NULL,                          -- of the failures, oldest first, joined by commas
	locked_until BIGINT NOT NULL,
	last         BIGINT NOT NULL
);

CREATE INDEX lockouts_prune ON lockouts (last);

CREATE TABLE audit (
	id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	time       BIGINT NOT NULL,
	action     TEXT NOT NULL,
	actor_kind TEXT NOT NULL,
	actor      TEXT NOT NULL,
	actor_name TEXT NOT NULL,
	target     TEXT NOT NULL,
	org        TEXT COLLATE "C" NOT NULL,
	address    TEXT NOT NULL,
	request_id TEXT NOT NULL,
	detail     TEXT NOT NULL
);

CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_org ON audit (org, time);
