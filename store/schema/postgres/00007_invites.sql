-- +goose Up

-- One-time codes with which people choose a password: one of a user, for the user at that version.
CREATE TABLE invites (
	user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	sha256  BYTEA NOT NULL UNIQUE CHECK (length(sha256) = 32), -- of the code
	version BIGINT NOT NULL,
	expires BIGINT NOT NULL
);

CREATE INDEX invites_prune ON invites (expires);
