package store

import (
	"context"
	"time"

	"doorward"
)

// audit writes a, as happened at the time now.
func (t *tx) audit(ctx context.Context, now time.Time, a doorward.AuditEntry) error {
	_, err := t.exec(ctx, `
		INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		millis(now), a.Action, string(a.ActorKind), a.Actor, a.ActorName, a.Target, a.Org, a.Address, a.RequestID, a.Detail)
	return err
}
