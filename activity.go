package doorward

import (
	"context"
	"slices"
)

// Activity lists a page of what by's own account has done and what was done to the account itself (its
// keys and sessions are targets of their own), newest first, of the organization that by acts in, and for a superadmin also of none; before is the last entry of
// the page before, next where the next page begins, zero at the end. People only. What others
// have done is told without where they did it from.
func (a *Authority) Activity(ctx context.Context, by Caller, before AuditMark, limit int) (page []AuditRecord, next AuditMark, err error) {
	if by.Kind != KindUser {
		return nil, AuditMark{}, ErrForbidden
	}
	orgs := by.auditOrgs()
	for _, q := range []AuditQuery{{Actor: by.Subject}, {Target: by.Subject}} {
		q.Orgs, q.Before, q.Limit = orgs, before, limit+1
		some, err := a.cfg.Store.Audit(ctx, q)
		if err != nil {
			return nil, AuditMark{}, Unavailable(err)
		}
		page = append(page, some...)
	}
	slices.SortFunc(page, func(x, y AuditRecord) int { return y.Compare(x.AuditMark) })
	page = slices.CompactFunc(page, func(x, y AuditRecord) bool { return x.Compare(y.AuditMark) == 0 })
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].AuditMark
	}
	for i := range page {
		if e := &page[i]; e.Actor != "" && e.Actor != by.Subject {
			e.Address = ""
		}
	}
	return page, next, nil
}
