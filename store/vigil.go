package store

import (
	"context"
	"errors"
	"time"
)

// errSilent is why a vigil ends what it watches.
var errSilent = errors.New("the database does not answer")

// vigil ends a context when an engine has been silent for too long. A server that hangs
// keeps its connections open, so nothing else would tell. The nil vigil watches nothing.
type vigil struct {
	patience time.Duration
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer
}

// keepVigil returns a context for what is asked of an engine, which ends with ctx or
// after patience, and the vigil over it, to be ended. With a patience of 0 it is ctx.
func keepVigil(ctx context.Context, patience time.Duration) (context.Context, *vigil) {
	if patience == 0 {
		return ctx, nil
	}
	v := &vigil{patience: patience}
	v.ctx, v.cancel = context.WithCancelCause(ctx)
	v.timer = time.AfterFunc(patience, func() { v.cancel(errSilent) })
	return v.ctx, v
}

// rest stops the watch while nothing is asked.
func (v *vigil) rest() {
	if v != nil {
		v.timer.Stop()
	}
}

// resume begins it anew.
func (v *vigil) resume() {
	if v != nil {
		v.timer.Reset(v.patience)
	}
}

// why returns the reason for err: silence, or else err itself.
func (v *vigil) why(err error) error {
	if v != nil && context.Cause(v.ctx) == errSilent {
		return errSilent
	}
	return err
}

func (v *vigil) end() {
	if v != nil {
		v.timer.Stop()
		v.cancel(nil)
	}
}
