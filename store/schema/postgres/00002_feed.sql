-- +goose Up

-- What every node must hear of. The row of feed is locked by who numbers a change, as the
-- last step of its transaction, so that numbers commit in order: a sequence of the engine
-- would let a reader pass over a number that commits late.
CREATE TABLE feed (
	id     SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
	seq    BIGINT NOT NULL, -- of the newest change
	pruned BIGINT NOT NULL  -- of the newest that was deleted
);

INSERT INTO feed (id, seq, pruned) VALUES (1, 0, 0);

-- A transaction has one number, however much it changes.
CREATE TABLE changes (
	seq    BIGINT NOT NULL,
	part   BIGINT NOT NULL, -- from 0
	time   BIGINT NOT NULL,
	what   TEXT COLLATE "C" NOT NULL,
	target TEXT COLLATE "C" NOT NULL,
	until  BIGINT NOT NULL,
	PRIMARY KEY (seq, part)
);

CREATE INDEX changes_prune ON changes (time, seq);

-- The kid of the secret that signs; empty before the first start that kept it.
ALTER TABLE meta ADD COLUMN kid TEXT COLLATE "C" NOT NULL DEFAULT '';
