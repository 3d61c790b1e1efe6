package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"doorward"
)

var auditTests = []test{
	{"what is written is read, newest first", func(k *kit) {
		a := doorward.AuditEntry{
			Action: "user.change", Outcome: doorward.OutcomeRefused, ActorKind: doorward.KindUser, Actor: "usr_1", ActorName: "anna",
			Target: "usr_2", Org: "default", Address: "192.0.2.1", RequestID: "r1", Detail: "role admin, \"quoted\"\n",
		}
		before := k.now()
		k.ok(k.WriteAudit(k.ctx(), a))
		k.advance(time.Second)
		b := doorward.AuditEntry{Action: "user.delete", Org: "default"}
		k.ok(k.WriteAudit(k.ctx(), b))
		got := k.audit(doorward.AuditQuery{Orgs: []string{"default"}, Limit: 10})
		b.Outcome = doorward.OutcomeDone
		if len(got) != 2 || got[0].AuditEntry != b || got[1].AuditEntry != a {
			k.Fatalf("got %+v", got)
		}
		if got[1].Time.Before(before) || got[1].Time.After(before.Add(time.Second)) || got[0].ID <= got[1].ID {
			k.Errorf("written at %v, read as %+v", before, got)
		}
	}},
	{"pages and wishes", func(k *kit) {
		// A model: all that is written, in order.
		var all []doorward.AuditEntry
		for i := range 60 {
			e := doorward.AuditEntry{
				Action: []string{"user.create", "user.change", "session.end", "username.x"}[i%4], Outcome: doorward.OutcomeDone, Actor: fmt.Sprint("usr_", i%3),
				Target: fmt.Sprint("t", i%5), Org: []string{"default", "", "other"}[i%7%3], RequestID: fmt.Sprint("r", i/2),
			}
			k.ok(k.WriteAudit(k.ctx(), e))
			all = append(all, e)
			if i%3 == 0 { // the others share a moment, as nearly as may be
				k.advance(time.Second)
			}
		}
		of := []string{"default", ""}
		for _, q := range []doorward.AuditQuery{
			{}, {Orgs: of}, {Orgs: []string{"other"}}, {Orgs: []string{}}, {Orgs: of, Action: "user.change"}, {Orgs: of, Action: "user."},
			{Orgs: of, Action: "user"}, {Orgs: of, Action: "nothing."}, {Action: "user."}, {Action: "user.create", Actor: "usr_1"},
			{Orgs: of, Actor: "usr_1"}, {Orgs: of, Actor: "usr_1", Action: "user."}, {Orgs: of, Target: "t3"}, {Orgs: of, Target: "t3", Actor: "usr_0"},
			{Orgs: of, RequestID: "r5"}, {Orgs: of, RequestID: "r5", Target: "t0"}, {RequestID: "r7"}, {Orgs: of, Actor: "' OR 1=1 --"}, {Orgs: of, Action: "%."},
		} {
			var want []doorward.AuditEntry
			for _, e := range slices.Backward(all) {
				family := strings.HasSuffix(q.Action, ".")
				if (q.Orgs == nil || slices.Contains(q.Orgs, e.Org)) && (q.Action == "" || q.Action == e.Action || family && strings.HasPrefix(e.Action, q.Action)) &&
					(q.Actor == "" || q.Actor == e.Actor) && (q.Target == "" || q.Target == e.Target) && (q.RequestID == "" || q.RequestID == e.RequestID) {
					want = append(want, e)
				}
			}
			for _, size := range []int{1, 7, 1000} {
				q.Limit, q.Before = size, doorward.AuditMark{}
				var got []doorward.AuditEntry
				for {
					page := k.audit(q)
					if len(page) > size {
						k.Fatalf("a page of %d", len(page))
					}
					for _, r := range page {
						got = append(got, r.AuditEntry)
						q.Before = r.AuditMark
					}
					if len(page) < size {
						break
					}
				}
				if !slices.Equal(got, want) {
					k.Errorf("%+v: got %d entries, want %d:\n%+v\n%+v", q, len(got), len(want), got, want)
				}
			}
		}
	}},
	{"from one time until before another", func(k *kit) {
		var at []doorward.AuditRecord
		for i := range 5 {
			k.ok(k.WriteAudit(k.ctx(), doorward.AuditEntry{Action: fmt.Sprint("x.", i), Org: "default"}))
			k.advance(time.Minute)
		}
		at = k.audit(doorward.AuditQuery{Orgs: []string{"default"}, Limit: 10})
		slices.Reverse(at)
		for from := range at {
			for to := range at {
				got := k.audit(doorward.AuditQuery{Orgs: []string{"default"}, From: at[from].Time, To: at[to].Time, Limit: 10})
				if len(got) != max(0, to-from) {
					k.Errorf("from %d to %d: %d entries", from, to, len(got))
				}
			}
		}
	}},
	{"a failure is on record until its request ends well", func(k *kit) {
		anna := k.user("anna")
		policy := doorward.LockoutPolicy{Attempts: 3, Window: time.Hour, Duration: time.Hour}
		try := func(account, request string) {
			k.Helper()
			_, err := k.CountFailure(k.ctx(), account, policy, doorward.AuditEntry{Action: doorward.ActionSignIn, RequestID: request, Address: "192.0.2.9"})
			k.ok(err)
		}
		says := func(want ...string) {
			k.Helper()
			var got []string
			for _, r := range k.audit(doorward.AuditQuery{Limit: 100}) {
				if r.Action == doorward.ActionSignIn || r.Action == doorward.ActionLock {
					got = append(got, fmt.Sprint(r.RequestID, " ", r.Action, " ", r.Outcome, " ", r.Target == anna.ID, " ", r.Org))
				}
			}
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				k.Errorf("the log says %q, want %q", got, want)
			}
		}
		try("anna", "a1")
		try("anna", "a2")
		try("nobody", "n1")
		const failed = " user.sign_in failed "
		says("a1"+failed+"true default", "a2"+failed+"true default", "n1"+failed+"false ")
		try("anna", "a3") // which locks, and ends well
		says("a1"+failed+"true default", "a2"+failed+"true default", "n1"+failed+"false ", "a3"+failed+"true default", "a3 user.lock done true default")
		e := entry("session.create")
		e.RequestID = "a3"
		k.ok(k.SignIn(k.ctx(), k.sessionOf(anna, k.now()), anna.Version, "anna", 10, e))
		says("a1"+failed+"true default", "a2"+failed+"true default", "n1"+failed+"false ")
		for i := range 5 { // the lock is told of once, and refusals not at all
			try("anna", fmt.Sprint("b", i))
		}
		says("a1"+failed+"true default", "a2"+failed+"true default", "n1"+failed+"false ",
			"b0"+failed+"true default", "b1"+failed+"true default", "b2"+failed+"true default", "b2 user.lock done true default")
	}},
	{"of simultaneous failures each is on record, and the lock once", func(k *kit) {
		anna := k.user("anna")
		policy := doorward.LockoutPolicy{Attempts: 5, Window: time.Hour, Duration: time.Hour}
		race(callers, func(i int) {
			_, err := k.CountFailure(k.ctx(), "anna", policy, doorward.AuditEntry{Action: doorward.ActionSignIn, RequestID: fmt.Sprint("r", i)})
			if err != nil {
				k.Errorf("error %v", err)
			}
		})
		failed := k.audit(doorward.AuditQuery{Action: doorward.ActionSignIn, Target: anna.ID, Limit: 100})
		locks := k.audit(doorward.AuditQuery{Action: doorward.ActionLock, Target: anna.ID, Limit: 100})
		if len(failed) != policy.Attempts || len(locks) != 1 {
			k.Errorf("%d failures and %d locks are on record", len(failed), len(locks))
		}
	}},
	{"a counter of its own is still the user's", func(k *kit) {
		anna := k.user("anna")
		policy := doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: time.Hour}
		_, err := k.CountFailure(k.ctx(), "anna abcdef", policy, doorward.AuditEntry{Action: doorward.ActionSignIn})
		k.ok(err)
		got := k.audit(doorward.AuditQuery{Target: anna.ID, Orgs: []string{anna.Org}, Limit: 100})
		if len(got) < 2 || got[0].Action != doorward.ActionLock || !strings.HasPrefix(got[0].Detail, "one browser of theirs alone, until ") || got[1].Action != doorward.ActionSignIn {
			k.Errorf("on record: %+v", got)
		}
	}},
	{"names that are nobody's do not fill the log", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 2, Window: time.Hour, Duration: time.Hour}
		a := doorward.AuditEntry{Action: doorward.ActionSignIn}
		for i := range 40 {
			_, err := k.CountFailure(k.ctx(), fmt.Sprint("nobody", i), policy, a)
			k.ok(err)
		}
		if got := k.audit(doorward.AuditQuery{Action: doorward.ActionSignIn, Limit: 100}); len(got) != 10 {
			k.Errorf("%d entries, want ten", len(got))
		}
		k.user("anna") // whose entries are always written
		_, err := k.CountFailure(k.ctx(), "anna", policy, a)
		k.ok(err)
		k.advance(time.Minute + time.Second)
		_, err = k.CountFailure(k.ctx(), "nobody", policy, a)
		k.ok(err)
		if got := k.audit(doorward.AuditQuery{Action: doorward.ActionSignIn, Limit: 100}); len(got) != 12 {
			k.Errorf("%d entries, want twelve", len(got))
		}
	}},
	{"sign-ins, failures and locks are counted by the hour", func(k *kit) {
		// A model: what was written, by hour and organization.
		want := map[string]map[time.Time]doorward.HourCount{}
		began := k.now()
		k.advance(began.Truncate(time.Hour).Add(time.Hour).Sub(began)) // to the beginning of an hour, or just past it
		first := k.now().Truncate(time.Hour)
		for i := range 60 {
			hour := first.Add(time.Duration(i/8) * 30 * time.Minute).Truncate(time.Hour).UTC()
			e := doorward.AuditEntry{
				Action: []string{doorward.ActionSession, doorward.ActionSession, doorward.ActionSignIn, doorward.ActionLock, "user.create"}[i%5],
				Org:    []string{"default", "", "other"}[i%3], ActorKind: []doorward.Kind{doorward.KindUser, doorward.KindClient}[i%2],
			}
			k.ok(k.WriteAudit(k.ctx(), e))
			if i%8 == 7 {
				k.advance(30 * time.Minute)
			}
			if want[e.Org] == nil {
				want[e.Org] = map[time.Time]doorward.HourCount{}
			}
			c := want[e.Org][hour]
			c.Hour = hour
			switch {
			case e.Action == doorward.ActionSession && e.ActorKind == doorward.KindUser:
				c.SignIns++
			case e.Action == doorward.ActionSignIn:
				c.Failures++
			case e.Action == doorward.ActionLock:
				c.Lockouts++
			default:
				continue
			}
			want[e.Org][hour] = c
		}
		for _, orgs := range [][]string{{"default"}, {"other"}, {"default", ""}, {"nobody"}, {"' OR 1=1 --"}, {}} {
			for _, since := range []time.Time{first.Add(-time.Hour), first.Add(90 * time.Minute), first.Add(100 * time.Hour)} {
				sum := map[time.Time]doorward.HourCount{}
				for _, org := range orgs {
					for hour, c := range want[org] {
						if !hour.Before(since.Truncate(time.Hour)) {
							s := sum[hour]
							sum[hour] = doorward.HourCount{Hour: hour, SignIns: s.SignIns + c.SignIns, Failures: s.Failures + c.Failures, Lockouts: s.Lockouts + c.Lockouts}
						}
					}
				}
				var all []doorward.HourCount
				for _, c := range sum {
					all = append(all, c)
				}
				slices.SortFunc(all, func(x, y doorward.HourCount) int { return x.Hour.Compare(y.Hour) })
				got, err := k.CountByHour(k.ctx(), orgs, since)
				k.ok(err)
				if !slices.Equal(got, all) {
					k.Errorf("%q since %v: %+v, want %+v", orgs, since, got, all)
				}
			}
		}
	}},
	{"what is old goes, in small steps", func(k *kit) {
		const n = 1100
		race(callers, func(c int) {
			for i := c; i < n; i += callers {
				if err := k.WriteAudit(k.ctx(), doorward.AuditEntry{Action: "x.old"}); err != nil {
					k.Errorf("entry %d: %v", i, err)
				}
			}
		})
		k.advance(48 * time.Hour)
		k.ok(k.WriteAudit(k.ctx(), doorward.AuditEntry{Action: "x.new"}))
		k.ok(k.PruneAudit(k.ctx(), 72*time.Hour))
		if got := k.audit(doorward.AuditQuery{Orgs: []string{""}, Action: "x.", Limit: 1000}); len(got) != 1000 {
			k.Errorf("%d entries, want a whole page", len(got))
		}
		k.ok(k.PruneAudit(k.ctx(), 24*time.Hour))
		if got := k.audit(doorward.AuditQuery{Orgs: []string{""}, Action: "x.", Limit: 1000}); len(got) != 1 || got[0].Action != "x.new" {
			k.Errorf("%d entries, want the new one", len(got))
		}
	}},
}

func (k *kit) audit(q doorward.AuditQuery) []doorward.AuditRecord {
	k.Helper()
	page, err := k.Audit(k.ctx(), q)
	k.ok(err)
	return page
}
