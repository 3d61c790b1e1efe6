-- +goose Up

-- The browsers that people have signed in with. A password that changes takes them along.
CREATE TABLE devices (
	sha256   BLOB NOT NULL PRIMARY KEY CHECK (length(sha256) = 32), -- of the secret in the device cookie
	user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	returned INTEGER NOT NULL CHECK (returned IN (0, 1)), -- it was signed in with again
	last     INTEGER NOT NULL                             -- sign-in with it
) STRICT;

CREATE INDEX devices_user ON devices (user_id, returned, last);
CREATE INDEX devices_prune ON devices (last);
