package gate

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"doorward"
)

// What a request was let in for may end while it lasts: a WebSocket, events, a long
// download or upload. So every request that is being carried, and that is somebody's, is
// known here, and several times a second each is asked about anew:
//
//	carry ── streams ── every 200 ms: Authority.Recheck ── no longer good ── Pass.end
//	           |                                                               |
//	     by begin and over                                       what EndWith has said
//
// Nothing is kept by session or by user: whatever ends one is found out by the same
// question that lets nobody new in, so none can be forgotten, and a request that is let in
// in the moment of a sign-out is not missed. A short request pays for two locks that are
// held for a moment, and no allocation: what is kept of it is in its Pass.

// recheckEvery is how often requests under way are asked about. Together with how often
// other nodes' changes are read it leaves half of the second in which streams must end.
const recheckEvery = 200 * time.Millisecond

// streams are the requests that are being carried, in lists that each have a lock.
type streams struct {
	lists  [64]streamList
	asking atomic.Bool // the store, about sessions whose token has expired
}

type streamList struct {
	mu    sync.Mutex
	first *Pass
	_     [48]byte // so that no two locks share a cache line
}

// stream is what a Pass knows of itself while it is being carried.
type stream struct {
	prev, next *Pass        // held like the list
	until      atomic.Int64 // Unix seconds from which the session is known to be over; 0: by Identity.Expires
	doomed     bool         // for recheck alone

	mu    sync.Mutex
	end   func(cause error) // nil while nobody has said how
	cause error             // not nil once it has to end
}

// EndWith says how the request that p is about is ended while it is being carried: end is
// called, with the reason for which its caller would not be let in any more, perhaps more
// than once, in another goroutine, until EndWith(nil), which waits for a call under way. If
// it has to end already, end is called before EndWith returns. Whoever carries a request
// calls it with nil when all is over.
func (p *Pass) EndWith(end func(cause error)) {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.stream.end = end
	if end != nil && p.stream.cause != nil {
		end(p.stream.cause)
	}
}

func (p *Pass) end(cause error) {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	if p.stream.cause == nil {
		p.stream.cause = cause
	}
	if p.stream.end != nil {
		p.stream.end(p.stream.cause)
	}
}

// maybeEnds reports whether p was let in for something that can end: nobody stays nobody.
func (p *Pass) maybeEnds() bool {
	return p.Identity.Session != "" || p.Shown.Via != 0
}

// begin puts p in; over takes it out.
func (s *streams) begin(p *Pass) *streamList {
	l := &s.lists[0]
	if n := len(p.RequestID); n > 1 { // random hex digits
		l = &s.lists[(p.RequestID[n-1]&15|p.RequestID[n-2]<<4)%64]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.stream.next = l.first; l.first != nil {
		l.first.stream.prev = p
	}
	l.first = p
	return l
}

func (l *streamList) over(p *Pass) {
	l.mu.Lock()
	defer l.mu.Unlock()
	prev, next := p.stream.prev, p.stream.next
	if next != nil {
		next.stream.prev = prev
	}
	if prev != nil {
		prev.stream.next = next
	} else {
		l.first = next
	}
	p.stream.prev, p.stream.next = nil, nil
}

// doomed is a request that has to end, and why.
type doomed struct {
	pass  *Pass
	cause error
}

// EndStreams ends requests under way, until ctx ends: those whose caller would not be let
// in any more, since the session was ended or the key removed, here or on another node,
// since the token has expired (unless the Authority's Config.OutliveToken), or since nobody knows what
// other nodes have ended. Call it once, in a goroutine of its own; without it requests
// last as long as they last.
func (g *Gate) EndStreams(ctx context.Context) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.recheck(ctx)
		}
	}
}

// recheck asks once about every request under way. Nothing waits for it longer than it takes
// to ask about the requests of one list, from memory; to end them may take longer, and
// each is ended by itself. One that is still there the next time is ended again.
func (g *Gate) recheck(ctx context.Context) {
	var end []doomed
	var expired []*Pass
	first := 0 // of those in end
	for i := range g.streams.lists {
		l := &g.streams.lists[i]
		l.mu.Lock()
		for p := l.first; p != nil; p = p.stream.next {
			until := p.Identity.Expires
			if known := p.stream.until.Load(); known != 0 {
				until = time.Unix(known, 0)
			}
			err := g.Authority.Recheck(ctx, p.Shown, p.Identity, until)
			switch {
			case err == nil:
			case errors.Is(err, doorward.ErrTokenExpired) && g.Authority.OutlivesToken(p.Identity) && p.stream.until.Load() == 0:
				expired = append(expired, p)
			default:
				end = append(end, doomed{p, err})
				if !p.stream.doomed {
					p.stream.doomed = true
					first++
				}
			}
		}
		l.mu.Unlock()
	}
	if first > 0 {
		g.Log.LogAttrs(ctx, slog.LevelInfo, "requests under way ended: whoever made them would not be let in any more", slog.Int("requests", first))
	}
	for _, d := range end {
		go g.endOne(ctx, d)
	}
	if len(expired) > 0 && g.streams.asking.CompareAndSwap(false, true) {
		go func() {
			defer g.streams.asking.Store(false)
			g.prolong(ctx, expired)
		}()
	}
}

func (g *Gate) endOne(ctx context.Context, d doomed) {
	if !d.pass.stream.mu.TryLock() {
		return // it is just beginning, or ending
	}
	first := d.pass.stream.cause == nil
	d.pass.stream.mu.Unlock()
	if first {
		g.Log.LogAttrs(ctx, slog.LevelDebug, "request under way ended", slog.String("cause", d.cause.Error()),
			slog.String("request_id", d.pass.RequestID), slog.String("path", d.pass.Path), slog.String("subject", d.pass.Identity.Subject))
	}
	d.pass.end(d.cause)
}

// prolong finds out until when requests may last whose token has expired. What cannot be
// read is asked again the next time; that they do not wait for the store for ever is
// Recheck's to see.
func (g *Gate) prolong(ctx context.Context, expired []*Pass) {
	ends := map[string]time.Time{} // by session; zero for one that is over
	for _, p := range expired {
		session := p.Identity.Session
		until, asked := ends[session]
		if !asked {
			var err error
			until, err = g.Authority.SessionEnds(ctx, session)
			if err != nil && !errors.Is(err, doorward.ErrTokenBlacklisted) {
				return
			}
			ends[session] = until
		}
		p.stream.until.Store(max(until.Unix(), 1))
	}
}
