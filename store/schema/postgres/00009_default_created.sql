-- +goose Up

-- Organization and workspace "default" come with the schema and had no time of their creation: that of the first user who is left, where
-- there are users.
UPDATE organizations SET created = coalesce((SELECT min(created) FROM users), CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)) WHERE created = 0;
UPDATE workspaces SET created = coalesce((SELECT min(created) FROM users), CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)) WHERE created = 0;
