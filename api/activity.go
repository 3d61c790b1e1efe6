package api

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// activity lists what the caller's own account has done and what was done to it.
func (a *api) activity(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := single(r, "after", "limit")
	if err != nil {
		return err
	}
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	before, err := doorward.ParseAuditMark(q.Get("after"))
	if err != nil {
		return err
	}
	page, next, err := a.Authority.Activity(r.Context(), p.Caller(r), before, limit)
	if err != nil {
		return err
	}
	writeAuditPage(w, page, next)
	return nil
}

func writeAuditPage(w http.ResponseWriter, page []doorward.AuditRecord, next doorward.AuditMark) {
	body := auditPage{Audit: make([]auditBody, 0, len(page)), Next: next.String()}
	for _, e := range page {
		body.Audit = append(body.Audit, auditOf(e))
	}
	gate.WriteJSON(w, http.StatusOK, body)
}
