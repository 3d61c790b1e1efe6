-- +goose Up

-- What came of it: done, failed or refused.
ALTER TABLE audit ADD COLUMN outcome TEXT NOT NULL DEFAULT 'done';

-- A page by any one of these is read from where it begins, however many entries there are.
-- (An organization is written so that audit_org is not taken instead: to who knows nothing
-- of the rows it seems as good, and reads all of an organization's to find a few.)
CREATE INDEX audit_action ON audit ((org || ''), action, time);
CREATE INDEX audit_actor ON audit ((org || ''), actor, time);
CREATE INDEX audit_target ON audit ((org || ''), target, time);
CREATE INDEX audit_request ON audit (request_id, (org || ''), time);
