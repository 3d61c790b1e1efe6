package api

import (
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// overviewBody is how it goes at the door.
type overviewBody struct {
	Now        time.Time    `json:"now" is:"Time"`
	Hours      []hourBody   `json:"hours"` // of the last 30 days, oldest first, UTC; those in which there was nothing are left out
	Locked     []lockedBody `json:"locked"`
	MoreLocked bool         `json:"more_locked"`
	Refusals   *refusedBody `json:"refusals,omitempty"` // of this server; superadmins alone are told
	Health     healthBody   `json:"health"`
	OpenToAll  bool         `json:"auth_disabled"`
}

type hourBody struct {
	Hour     time.Time `json:"hour" is:"Time"`
	SignIns  int64     `json:"sign_ins" is:"Count"`
	Failures int64     `json:"failures" is:"Count"`
	Lockouts int64     `json:"lockouts" is:"Count"`
}

type lockedBody struct {
	UserID   string    `json:"user_id" is:"UserID"`
	Username string    `json:"username"`
	Until    time.Time `json:"until" is:"Time"`
}

type refusedBody struct {
	Since time.Time         `json:"since" is:"Time"` // the start of this server
	Hours []refusedHourBody `json:"hours"`
}

type refusedHourBody struct {
	Hour     time.Time `json:"hour" is:"Time"`
	Refusals int64     `json:"refusals" is:"Count"`
}

// overview tells how it goes: the page that people see shows the same.
func (a *api) overview(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if _, err := single(r); err != nil {
		return err
	}
	by := p.Caller(r)
	o, err := a.Authority.Overview(r.Context(), by)
	if err != nil {
		return err
	}
	body := overviewBody{
		Now: o.Now.Truncate(time.Second), Hours: []hourBody{}, Locked: []lockedBody{}, MoreLocked: o.More,
		Health: healthOf(p.Running().Health(r.Context())), OpenToAll: p.Running().Disabled(),
	}
	for _, h := range o.Hours {
		body.Hours = append(body.Hours, hourBody(h))
	}
	for _, l := range o.Locked {
		body.Locked = append(body.Locked, lockedBody{l.User.ID, l.User.Username, l.Until.UTC()})
	}
	if by.Role == doorward.Superadmin {
		hours, err := p.Running().Refusals.Hours(by, o.Now)
		if err != nil {
			return err
		}
		body.Refusals = &refusedBody{Since: p.Running().Refusals.Since().UTC(), Hours: []refusedHourBody{}}
		for _, h := range hours {
			body.Refusals.Hours = append(body.Refusals.Hours, refusedHourBody(h))
		}
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

type refusedRequestBody struct {
	RequestID string    `json:"request_id"`
	Time      time.Time `json:"time" is:"Time"`
	Method    string    `json:"method"`
	Path      string    `json:"path"` // without the query
	Rule      string    `json:"rule"`
	Status    int       `json:"status" is:"HTTPStatus"`
	Error     string    `json:"error"`
	Subject   string    `json:"subject"` // empty for nobody, like the three that follow
	Username  string    `json:"username"`
	Role      string    `json:"role"`
	Org       string    `json:"org_id" is:"NoneOrSlug"`
	Client    string    `json:"client"`
}

type refusalsBody struct {
	Refusals []refusedRequestBody `json:"refusals"`        // newest first
	Kept     int                  `json:"kept" is:"Count"` // at most so many of this server are remembered
	Since    time.Time            `json:"since" is:"Time"` // the start of this server
}

// refusals lists the newest refusals of this server, or the one of a request.
func (a *api) refusals(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := single(r, "request_id", "limit")
	if err != nil {
		return err
	}
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	found, err := p.Running().Refused(r.Context(), p.Caller(r), q.Get("request_id"), limit)
	if err != nil {
		return err
	}
	body := refusalsBody{Refusals: []refusedRequestBody{}, Kept: gate.KeptRefusals, Since: p.Running().Refusals.Since().UTC()}
	for _, f := range found {
		body.Refusals = append(body.Refusals, refusedRequestBody{
			f.RequestID, f.Time, f.Method, f.Path, f.Rule, f.Status, f.Error, f.Subject, f.Username, string(f.Role), f.Org, f.Client.String(),
		})
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}
