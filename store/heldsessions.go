package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"doorward"
)

// heldColumns are what heldRow reads of heldTables.
const heldColumns = `s.id, s.kind, s.subject, s.credential, s.configured, s.terms, s.org, s.workspaces, s.created, s.ends,
	s.access_until, s.ended, s.end_reason, s.prev, s.head, s.child, s.gen, s.fork, s.minted, s.address, s.user_agent, s.listed,
	coalesce(k.owner, ''), coalesce(k.role, ''), coalesce(k.name, ''),
	coalesce(u.id, ''), coalesce(u.username, ''), coalesce(u.role, ''), coalesce(u.org, ''), coalesce(u.disabled, 0), coalesce(u.version, 0),
	coalesce((SELECT string_agg(m.workspace, ',') FROM memberships m WHERE m.user_id = u.id), '')`

const heldTables = ` FROM sessions s LEFT JOIN api_keys k ON k.id = s.credential LEFT JOIN users u ON u.id = coalesce(k.owner, s.credential) `

// heldRow is a row of heldColumns.
type heldRow struct {
	sessionRow
	listed      string
	owner       string
	keyRole     doorward.Role
	keyName     string
	holder      doorward.User
	memberships doorward.Workspaces
}

func (r *heldRow) dest() []any {
	h := &r.holder
	return append(r.sessionRow.dest(), &r.listed, &r.owner, &r.keyRole, &r.keyName,
		&h.ID, &h.Username, &h.Role, &h.Org, &h.Disabled, &h.Version, &r.memberships)
}

func (r *heldRow) held() doorward.HeldSession {
	h := doorward.HeldSession{Session: r.session(), Owner: r.owner, KeyRole: r.keyRole, KeyName: r.keyName, Holder: r.holder}
	if h.Kind == doorward.KindUser {
		h.Owner = h.Credential
	}
	h.Holder.Workspaces = r.memberships.List()
	slices.Sort(h.Holder.Workspaces)
	return h
}

// HeldSession implements doorward.HeldSessionStore.
func (s *Store) HeldSession(ctx context.Context, id string) (doorward.HeldSession, bool, error) {
	var r heldRow
	found, err := s.asker("read a session").get(ctx, r.dest(), `SELECT `+heldColumns+heldTables+`WHERE s.id = $1`, id)
	if err != nil || !found {
		return doorward.HeldSession{}, false, err
	}
	return r.held(), true, nil
}

// SessionPage implements doorward.HeldSessionStore. Each credential of a user is read in its
// own order, and they are put together here: so a page costs the same however many there are.
func (s *Store) SessionPage(ctx context.Context, q doorward.SessionQuery, after doorward.SessionMark, limit int) ([]doorward.ListedSession, error) {
	a := s.asker("list sessions")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return nil, err
	}
	limit = min(max(limit, 1), 1001)
	last, id := int64(math.MaxInt64), ""
	if !after.Ends.IsZero() {
		last, id = millis(after.Ends), after.ID
	}
	credentials := []string{cmp.Or(q.User, q.Credential)}
	if q.User != "" {
		var key string
		err := a.each(ctx, []any{&key}, func() error {
			credentials = append(credentials, key)
			return nil
		}, `
			SELECT k.id FROM api_keys k WHERE k.owner = $1 AND EXISTS (
				SELECT 1 FROM sessions s WHERE s.credential = k.id AND s.ended = 0 AND s.ends > $2)`, q.User, millis(now))
		if err != nil {
			return nil, err
		}
	}
	var all []doorward.ListedSession
	for _, credential := range credentials {
		var r sessionRow
		err := a.each(ctx, r.dest(), func() error {
			all = append(all, doorward.ListedSession{Session: r.session()})
			return nil
		}, `
			SELECT `+sessionColumns+` FROM sessions
			WHERE credential = $1 AND ended = 0 AND ends > $2 AND ends <= $3 AND (ends < $3 OR id < $4)
			ORDER BY ends DESC, id DESC LIMIT $5`, credential, millis(now), last, id, limit)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(all, func(x, y doorward.ListedSession) int {
			return cmp.Or(y.Ends.Compare(x.Ends), cmp.Compare(y.ID, x.ID))
		})
		all = all[:min(len(all), limit)]
	}
	return all, nil
}

// Bounds of a page of an organization's sessions.
const (
	sessionsLooked = 1000         // at the most, so that no page is slow however long the list and whatever is passed over
	sessionsAtOnce = 250          // once the first few were not enough
	listedEnd      = "\U0010ffff" // follows whatever a session is listed by
)

// OrgSessions implements doorward.HeldSessionStore. What may says is asked here and not in the
// statement, which reads along the index alone.
func (s *Store) OrgSessions(ctx context.Context, q doorward.OrgSessionQuery, may func(doorward.HeldSession) bool) ([]doorward.HeldSession, doorward.SessionPlace, error) {
	a := s.asker("list sessions")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return nil, doorward.SessionPlace{}, err
	}
	l := heldList{asker: a, org: q.Org, limit: min(max(q.Limit, 1), 1000), left: sessionsLooked, at: q.After}
	search := strings.ToLower(q.Search)
	if !l.at.Within {
		if l.at.Listed < search {
			l.at.Listed, l.at.ID = search, "" // no id is empty, so those of just that name come as well
		}
		done, err := l.gather(ctx, search+listedEnd, func(r *heldRow) bool { return now.Before(fromMillis(r.ends)) && may(r.held()) })
		if err != nil || !done {
			return l.page, l.at, err
		}
		if search == "" {
			return l.page, doorward.SessionPlace{}, nil
		}
		l.at = doorward.SessionPlace{Within: true}
		if len(l.page) == l.limit || l.left == 0 {
			return l.page, l.at, nil
		}
	}
	done, err := l.gather(ctx, listedEnd, func(r *heldRow) bool {
		within := strings.Contains(r.listed, search) && !strings.HasPrefix(r.listed, search)
		return within && now.Before(fromMillis(r.ends)) && may(r.held())
	})
	if err != nil || !done {
		return l.page, l.at, err
	}
	return l.page, doorward.SessionPlace{}, nil
}

// heldList gathers a page of the sessions of an organization.
type heldList struct {
	asker
	org   string
	limit int
	left  int // how many more may be looked at
	at    doorward.SessionPlace
	page  []doorward.HeldSession
}

// gather adds those after l.at and before end that pick picks, until the page is full or as many
// were looked at as may be. done says that there are no more; else l.at is where to go on.
func (l *heldList) gather(ctx context.Context, end string, pick func(*heldRow) bool) (done bool, err error) {
	for step := l.limit + 1; l.left > 0; step = sessionsAtOnce {
		step = min(step, l.left)
		rows, full := 0, false
		var r heldRow
		err := l.each(ctx, r.dest(), func() error {
			rows++
			switch {
			case full:
			case !pick(&r):
				l.at.Listed, l.at.ID = r.listed, r.ID
			case len(l.page) == l.limit:
				full = true // there is one more
			default:
				l.page = append(l.page, r.held())
				l.at.Listed, l.at.ID = r.listed, r.ID
			}
			return nil
		}, `
			SELECT `+heldColumns+heldTables+`
			WHERE s.org = $1 AND s.ended = 0 AND (s.listed, s.id) > ($2, $3) AND s.listed < $4 ORDER BY s.listed, s.id LIMIT $5`,
			l.org, l.at.Listed, l.at.ID, end, step)
		switch {
		case err != nil:
			return false, err
		case full:
			return false, nil
		case rows < step:
			return true, nil
		}
		l.left -= rows
	}
	return false, nil
}
