-- +goose Up

-- One-time codes with which people choose a password: one of a user, for the user at that version.
CREATE TABLE invites (
	user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	sha256  BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32), -- of the code
	version INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT;

CREATE INDEX invites_prune ON invites (expires);

-- Who has not chosen a password yet is nobody who could be left as the last of a rank.
CREATE INDEX users_invited ON users (role, password) WHERE disabled = 0 AND password = '';
