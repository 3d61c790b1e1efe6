-- +goose Up

-- By what a session is listed and found, in lower case: the name of the person whose it is, or, of a
-- machine's, that of its key's owner if it has one, the client id, and the key's name.
ALTER TABLE sessions ADD COLUMN listed TEXT NOT NULL DEFAULT '';

UPDATE sessions SET listed = coalesce(
	(SELECT u.canonical FROM users u WHERE u.id = sessions.credential),
	coalesce((SELECT u.canonical || ' ' FROM api_keys k JOIN users u ON u.id = k.owner WHERE k.id = sessions.credential), '')
		|| lower(subject) || coalesce((SELECT ' ' || k.canonical FROM api_keys k WHERE k.id = sessions.credential), ''))
WHERE ended = 0;

-- A page of an organization's. A refresh changes none of these columns either.
CREATE INDEX sessions_page ON sessions (org, listed, id) WHERE ended = 0;
