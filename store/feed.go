package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"doorward"
)

// keepChanges is how long a change stays in the feed. A node that has not read for longer
// reads everything anew.
const keepChanges = time.Hour

// errNoFeed says that the feed's one row is gone.
var errNoFeed = errors.New("the row that numbers changes is missing")

// changed says, within a transaction, what other nodes must hear of when it is kept.
func (t *tx) changed(c doorward.Change) { t.changes = append(t.changes, c) }

// publish writes what the transaction has changed into the feed, under the next number. It
// is the last step before COMMIT, since from here on every other transaction that
// publishes waits for this one.
func (t *tx) publish(ctx context.Context) error {
	if len(t.changes) == 0 {
		return nil
	}
	var seq int64
	found, err := t.get(ctx, []any{&seq}, `UPDATE feed SET seq = seq + 1 WHERE id = 1 RETURNING seq`)
	if err == nil && !found {
		err = t.failed(ctx, errNoFeed)
	}
	if err != nil {
		return err
	}
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	for at := 0; at < len(t.changes); {
		text, n := insertChanges, publishStep
		if len(t.changes)-at < n {
			text, n = insertChange, 1
		}
		args := make([]any, 0, 6*n)
		for i, c := range t.changes[at : at+n] {
			args = append(args, seq, at+i, millis(now), string(c.What), c.Target, millis(c.Until))
		}
		if _, err := t.exec(ctx, text, args...); err != nil {
			return err
		}
		at += n
	}
	if t.engine.notify != "" {
		_, err = t.exec(ctx, t.engine.notify)
	}
	return err
}

// publishStep is how many changes one statement writes, where there are so many: the
// sessions of somebody with thousands must not hold up everybody's changes for seconds.
const publishStep = 100

var (
	insertChange  = insertChangesText(1)
	insertChanges = insertChangesText(publishStep)
)

func insertChangesText(rows int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO changes (seq, part, time, what, target, until) VALUES `)
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		for column := range 6 {
			b.WriteString([]string{"($", ", $"}[min(column, 1)] + strconv.Itoa(row*6+column+1))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// LastChange implements doorward.FeedStore.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	var seq int64
	a := s.asker("read the feed of changes")
	found, err := a.get(ctx, []any{&seq}, `SELECT seq FROM feed WHERE id = 1`)
	if err == nil && !found {
		err = a.failed(ctx, errNoFeed)
	}
	return seq, err
}

// Changes implements doorward.FeedStore.
func (s *Store) Changes(ctx context.Context, after int64, yield func(doorward.Change) error) (int64, error) {
	a := s.asker("read the feed of changes")
	last := int64(-1)
	var seq, pruned int64
	var number, until *int64
	var what, target *string
	// One statement, so that the numbers and the rows are of one moment. The upper bound is
	// beyond all numbers: it tells who plans without knowing $1 that few rows are wanted.
	err := a.each(ctx, []any{&seq, &pruned, &number, &what, &target, &until}, func() error {
		last = seq
		switch {
		case seq < after, pruned > after:
			return doorward.ErrFeedGap
		case number == nil:
			return nil
		}
		return yield(doorward.Change{Number: *number, What: doorward.ChangeKind(*what), Target: *target, Until: fromMillis(*until)})
	}, `
		SELECT f.seq, f.pruned, c.seq, c.what, c.target, c.until
		FROM feed f LEFT JOIN changes c ON c.seq > $1 AND c.seq < $1 + 1000000000000
		WHERE f.id = 1 ORDER BY c.seq, c.part`, after)
	switch {
	case err != nil:
		return 0, err
	case last < 0:
		return 0, a.failed(ctx, errNoFeed)
	}
	return last, nil
}

// AwaitChange implements doorward.FeedStore.
func (s *Store) AwaitChange(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	stop := context.AfterFunc(s.life, cancel)
	defer stop()
	s.engine.await(ctx)
}

// pruneChanges deletes the changes that every node has had time to read, and keeps the
// number of the last one deleted, so that a node that was away for longer learns that it
// has missed some.
func (s *Store) pruneChanges(ctx context.Context) error {
	for {
		var n int64
		err := s.writeAlone(ctx, "prune the feed of changes", func(ctx context.Context, t *tx) error {
			now, err := t.now(ctx)
			if err != nil {
				return err
			}
			var last int64
			over := millis(now.Add(-keepChanges))
			_, err = t.get(ctx, []any{&last}, `
				SELECT coalesce(max(seq), 0) FROM (
					SELECT seq FROM changes WHERE time <= $1 ORDER BY time, seq LIMIT `+strconv.Itoa(pruneStep)+`) AS oldest`, over)
			if n = 0; err != nil || last == 0 {
				return err
			}
			if _, err := t.exec(ctx, `UPDATE feed SET pruned = $1 WHERE id = 1 AND pruned < $1`, last); err != nil {
				return err
			}
			n, err = t.exec(ctx, `DELETE FROM changes WHERE seq <= $1 AND time <= $2`, last, over)
			return err
		})
		if err != nil || n < pruneStep {
			return err
		}
	}
}
