-- +goose Up

-- Organization and workspace "default" come with the schema and had no time of their creation.
UPDATE organizations SET created = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint) WHERE created = 0;
UPDATE workspaces SET created = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint) WHERE created = 0;
