-- +goose Up

-- A page of the people in a workspace.
CREATE INDEX memberships_page ON memberships (org, workspace, user_id);
DROP INDEX memberships_members;
