-- +goose Up

-- One-time codes with which people choose a password: one of a user, for the user at that version.
CREATE TABLE invites (
	user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	sha256  BYTEA NOT NULL UNIQUE CHECK (length(sha256) = 32), -- of the code
	version BIGINT NOT NULL,
	expires BIGINT NOT NULL
);

CREATE INDEX invites_prune ON invites (expires);

-- Who has not chosen a password yet is nobody who could be left as the last of a rank.
CREATE INDEX users_invited ON users (role, password) WHERE disabled = 0 AND password = '';
