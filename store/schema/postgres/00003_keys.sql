-- +goose Up

-- A key's name in lower case, by which keys are listed and found.
ALTER TABLE api_keys ADD COLUMN canonical TEXT COLLATE "C" NOT NULL DEFAULT '';

UPDATE api_keys SET canonical = lower(name);

DROP INDEX api_keys_owner;
DROP INDEX api_keys_page;

CREATE INDEX api_keys_owner ON api_keys (owner, canonical, id);             -- a person's own
CREATE INDEX api_keys_page ON api_keys (org, workspace, canonical, id);     -- a workspace's
CREATE INDEX api_keys_org ON api_keys (org, canonical, id) WHERE revoked = 0;
CREATE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_overlap ON api_keys (overlap_until) WHERE overlap_until > 0 AND revoked = 0;
CREATE INDEX api_keys_prune ON api_keys (revoked) WHERE revoked > 0;
