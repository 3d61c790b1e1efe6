-- +goose Up

-- Organization and workspace "default" come with the schema and had no time of their creation.
UPDATE organizations SET created = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE created = 0;
UPDATE workspaces SET created = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE created = 0;
