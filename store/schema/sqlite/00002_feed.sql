-- +goose Up

-- What every node must hear of. The row of feed is locked by who numbers a change, as the
-- last step of its transaction, so that numbers commit in order: a sequence of the engine
-- would let a reader pass over a number that commits late.
CREATE TABLE feed (
	id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	seq    INTEGER NOT NULL, -- of the newest change
	pruned INTEGER NOT NULL  -- of the newest that was deleted
) STRICT;

INSERT INTO feed (id, seq, pruned) VALUES (1, 0, 0);

-- A transaction has one number, however much it changes.
CREATE TABLE changes (
	seq    INTEGER NOT NULL,
	part   INTEGER NOT NULL, -- from 0
	time   INTEGER NOT NULL,
	what   TEXT NOT NULL,
	target TEXT NOT NULL,
	until  INTEGER NOT NULL,
	PRIMARY KEY (seq, part)
) STRICT, WITHOUT ROWID;

CREATE INDEX changes_prune ON changes (time, seq);

-- The kid of the secret that signs; empty before the first start that kept it.
ALTER TABLE meta ADD COLUMN kid TEXT NOT NULL DEFAULT '';
