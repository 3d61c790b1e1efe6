package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorward"
)

// audit writes a, as happened at the time now.
func (t *tx) audit(ctx context.Context, now time.Time, a doorward.AuditEntry) error {
	_, err := t.exec(ctx, `
		INSERT INTO audit (time, action, outcome, actor_kind, actor, actor_name, target, org, address, request_id, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		millis(now), a.Action, string(cmp.Or(a.Outcome, doorward.OutcomeDone)), string(a.ActorKind), a.Actor, a.ActorName, a.Target, a.Org, a.Address, a.RequestID, a.Detail)
	return err
}

// Of attempts at names that are nobody's so many are written in a minute: there is no end of
// such names, so that no lock stops who tries them all. The log of the program has the rest.
const (
	strangersAtOnce = 10
	strangersWindow = time.Minute
)

// auditFailure writes a, an attempt at account that counts as failed until it ends well, and
// that it has locked the account if it has. Whose account that is it finds out, and says
// nothing of a name that is nobody's: people type their passwords there.
func (t *tx) auditFailure(ctx context.Context, now time.Time, account string, locked time.Time, a doorward.AuditEntry) error {
	if a.Action == "" {
		return nil
	}
	a.Outcome = doorward.OutcomeFailed
	name, of, ofDevice := strings.Cut(account, " ")
	var user, org string
	if _, err := t.get(ctx, []any{&user, &org}, `SELECT id, org FROM users WHERE canonical = $1`, name); err != nil {
		return err
	}
	a.Target, a.Org = cmp.Or(a.Target, user), cmp.Or(a.Org, org)
	if a.Target == "" {
		var lately int
		_, err := t.get(ctx, []any{&lately}, `
			SELECT count(*) FROM (SELECT 1 FROM audit WHERE org || '' = $1 AND action = $2 AND time > $3 LIMIT `+strconv.Itoa(strangersAtOnce)+`) AS lately`,
			a.Org, a.Action, millis(now.Add(-strangersWindow)))
		if err != nil || lately >= strangersAtOnce {
			return err
		}
		a.Detail = strings.TrimPrefix(a.Detail+", no such user", ", ")
	}
	if err := t.audit(ctx, now, a); err != nil || locked.IsZero() {
		return err
	}
	a.Action, a.Outcome = doorward.ActionLock, doorward.OutcomeDone
	a.Detail = "until " + locked.UTC().Format(time.RFC3339)
	if ofDevice && of != "" {
		a.Detail = "one browser of theirs alone, " + a.Detail
	}
	return t.audit(ctx, now, a)
}

// endedWell takes back what auditFailure has written in the request with this id: the
// attempt was none that failed.
func (t *tx) endedWell(ctx context.Context, requestID string) error {
	if requestID == "" {
		return nil
	}
	_, err := t.exec(ctx, `DELETE FROM audit WHERE request_id = $1 AND (outcome = $2 OR action = $3)`,
		requestID, string(doorward.OutcomeFailed), doorward.ActionLock)
	return err
}

// WriteAudit implements doorward.AuditStore.
func (s *Store) WriteAudit(ctx context.Context, a doorward.AuditEntry) error {
	return s.write(ctx, "write to the audit log", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		return t.audit(ctx, now, a)
	})
}

// auditText reads entries, newest first. lead picks them by what an index has in front; $4
// to $8 ask for what lead does not, and nothing when they are empty.
func auditText(lead string) string {
	return `
		SELECT id, time, action, outcome, actor_kind, actor, actor_name, target, org, address, request_id, detail FROM audit
		WHERE ` + lead + `time >= $1 AND time <= $2 AND (time < $2 OR id < $3)
			AND ($4 = '' OR action = $4) AND ($5 = '' OR substr(action, 1, length($5)) = $5)
			AND ($6 = '' OR actor = $6) AND ($7 = '' OR target = $7) AND ($8 = '' OR request_id = $8)
		ORDER BY time DESC, id DESC LIMIT $9`
}

// The ways to read entries, by what the index that is used has in front. What names an
// index's columns stands here and not among the wishes, since of a wish that may be empty no
// planner knows that it picks few. The schema says why an organization is written as it is.
var (
	auditAll       = auditText(``)
	auditByOrg     = auditText(`org = $10 AND `)
	auditByAction  = auditText(`org || '' = $10 AND action = $11 AND `)
	auditByActor   = auditText(`org || '' = $10 AND actor = $11 AND `)
	auditByTarget  = auditText(`org || '' = $10 AND target = $11 AND `)
	auditByRequest = auditText(`org || '' = $10 AND request_id = $11 AND `)
)

// Audit implements doorward.AuditStore. Each organization is read in its own order, and of
// a family of actions each action, and they are put together here: so a page costs the same
// however many entries there are.
func (s *Store) Audit(ctx context.Context, q doorward.AuditQuery) ([]doorward.AuditRecord, error) {
	q.Limit = min(max(q.Limit, 1), 1001)
	a := s.asker("read the audit log")
	if q.Orgs == nil {
		return a.auditPage(ctx, auditAll, q)
	}
	var all []doorward.AuditRecord
	for _, org := range distinct(q.Orgs) {
		of, err := a.auditOf(ctx, q, org)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return newest(all, q.Limit), nil
}

func newest(all []doorward.AuditRecord, limit int) []doorward.AuditRecord {
	slices.SortFunc(all, func(x, y doorward.AuditRecord) int {
		return y.Compare(x.AuditMark)
	})
	return all[:min(len(all), limit)]
}

// auditOf reads the entries of one organization.
func (a asker) auditOf(ctx context.Context, q doorward.AuditQuery, org string) ([]doorward.AuditRecord, error) {
	switch {
	case q.RequestID != "":
		return a.auditPage(ctx, auditByRequest, q, org, q.RequestID)
	case q.Target != "":
		return a.auditPage(ctx, auditByTarget, q, org, q.Target)
	case q.Actor != "":
		return a.auditPage(ctx, auditByActor, q, org, q.Actor)
	case q.Action == "":
		return a.auditPage(ctx, auditByOrg, q, org)
	case !strings.HasSuffix(q.Action, "."):
		return a.auditPage(ctx, auditByAction, q, org, q.Action)
	}
	// There are some ten actions in a family. Each is found by one look into the index.
	var all []doorward.AuditRecord
	past := q.Action[:len(q.Action)-1] + "/" // the character after the dot
	for last := q.Action; ; {
		var action string
		found, err := a.get(ctx, []any{&action}, `
			SELECT action FROM audit WHERE org || '' = $1 AND action > $2 AND action < $3 ORDER BY action LIMIT 1`, org, last, past)
		if err != nil || !found {
			return newest(all, q.Limit), err
		}
		of, err := a.auditPage(ctx, auditByAction, q, org, action)
		if err != nil {
			return nil, err
		}
		all, last = newest(append(all, of...), q.Limit), action
	}
}

func (a asker) auditPage(ctx context.Context, text string, q doorward.AuditQuery, lead ...any) ([]doorward.AuditRecord, error) {
	before, id := int64(math.MaxInt64), int64(0)
	if !q.To.IsZero() {
		before = millis(q.To)
	}
	if last := q.Before; !last.Time.IsZero() && millis(last.Time) < before {
		before, id = millis(last.Time), last.ID
	}
	exact, family := q.Action, ""
	if strings.HasSuffix(q.Action, ".") {
		exact, family = "", q.Action
	}
	args := append([]any{millis(q.From), before, id, exact, family, q.Actor, q.Target, q.RequestID, q.Limit}, lead...)
	var page []doorward.AuditRecord
	var r doorward.AuditRecord
	var at int64
	err := a.each(ctx, []any{&r.ID, &at, &r.Action, &r.Outcome, &r.ActorKind, &r.Actor, &r.ActorName, &r.Target, &r.Org, &r.Address, &r.RequestID, &r.Detail}, func() error {
		r.Time = fromMillis(at)
		page = append(page, r)
		return nil
	}, text, args...)
	if err != nil {
		return nil, err
	}
	return page, nil
}

// PruneAudit implements doorward.AuditStore.
func (s *Store) PruneAudit(ctx context.Context, keep time.Duration) error {
	for {
		var n int64
		err := s.writeAlone(ctx, "prune the audit log", func(ctx context.Context, t *tx) error {
			now, err := t.now(ctx)
			if err != nil {
				return err
			}
			var last int64
			_, err = t.get(ctx, []any{&last}, `
				SELECT coalesce(max(time), 0) FROM (
					SELECT time FROM audit WHERE time <= $1 ORDER BY time LIMIT `+strconv.Itoa(pruneStep)+`) AS oldest`, millis(now.Add(-keep)))
			if n = 0; err != nil || last == 0 {
				return err
			}
			n, err = t.exec(ctx, `DELETE FROM audit WHERE time <= $1`, last)
			return err
		})
		if err != nil || n < pruneStep {
			return err
		}
	}
}
