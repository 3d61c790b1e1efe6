package store

import (
	"context"
	"slices"
	"time"

	"doorward"
)

// hourMillis is an hour, as the index audit_hours has it.
const hourMillis = 3600000

// hoursText counts the entries of an action by hour and kind of actor. Everything in it is
// written as in the index audit_hours, which holds all that is asked for.
func hoursText(action string) string {
	return `
		SELECT time / 3600000, actor_kind, count(*) FROM audit
		WHERE org = $1 AND action = '` + action + `' AND time / 3600000 >= $2
		GROUP BY time / 3600000, actor_kind`
}

var (
	hoursOfSignIns  = hoursText(doorward.ActionSession)
	hoursOfFailures = hoursText(doorward.ActionSignIn)
	hoursOfLocks    = hoursText(doorward.ActionLock)
)

// CountByHour implements doorward.AuditStore.
func (s *Store) CountByHour(ctx context.Context, orgs []string, since time.Time) ([]doorward.HourCount, error) {
	a := s.asker("count the entries of the audit log")
	counts := map[int64]*doorward.HourCount{}
	for _, org := range distinct(orgs) {
		for _, of := range []struct {
			text string
			add  func(c *doorward.HourCount, kind doorward.Kind, n int64)
		}{
			{hoursOfSignIns, func(c *doorward.HourCount, kind doorward.Kind, n int64) {
				if kind == doorward.KindUser {
					c.SignIns += n
				}
			}},
			{hoursOfFailures, func(c *doorward.HourCount, _ doorward.Kind, n int64) { c.Failures += n }},
			{hoursOfLocks, func(c *doorward.HourCount, _ doorward.Kind, n int64) { c.Lockouts += n }},
		} {
			var hour, n int64
			var kind doorward.Kind
			err := a.each(ctx, []any{&hour, &kind, &n}, func() error {
				if counts[hour] == nil {
					counts[hour] = &doorward.HourCount{Hour: fromMillis(hour * hourMillis)}
				}
				of.add(counts[hour], kind, n)
				return nil
			}, of.text, org, millis(since)/hourMillis)
			if err != nil {
				return nil, err
			}
		}
	}
	var all []doorward.HourCount
	for _, c := range counts {
		if c.SignIns+c.Failures+c.Lockouts > 0 {
			all = append(all, *c)
		}
	}
	slices.SortFunc(all, func(x, y doorward.HourCount) int { return x.Hour.Compare(y.Hour) })
	return all, nil
}
