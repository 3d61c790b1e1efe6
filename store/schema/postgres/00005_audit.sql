-- +goose Up

-- What came of it: done, failed or refused. (A default that is constant rewrites no row.)
ALTER TABLE audit ADD COLUMN outcome TEXT NOT NULL DEFAULT 'done';

-- Ordered by their bytes, as on the other engine; no index was on them, so nothing is rewritten.
ALTER TABLE audit
	ALTER COLUMN action TYPE TEXT COLLATE "C",
	ALTER COLUMN actor TYPE TEXT COLLATE "C",
	ALTER COLUMN target TYPE TEXT COLLATE "C",
	ALTER COLUMN request_id TYPE TEXT COLLATE "C";

-- A page by any one of these is read from where it begins, however many entries there are.
-- (An organization is written so that audit_org is not taken instead: to who knows nothing
-- of the rows it seems as good, and reads all of an organization's to find a few.)
CREATE INDEX audit_action ON audit ((org || ''), action, time);
CREATE INDEX audit_actor ON audit ((org || ''), actor, time);
CREATE INDEX audit_target ON audit ((org || ''), target, time);
CREATE INDEX audit_request ON audit (request_id, (org || ''), time);
