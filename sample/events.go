package sample

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// An event is a change of status, of the run or (with Step) of one of its steps. Events
// are numbered from 1, and never change once announced.
type event struct {
	Run    string    `json:"run_id"`
	Step   int       `json:"step,omitempty"` // from 1; 0: the run itself
	Name   string    `json:"name,omitempty"`
	Status status    `json:"status"`
	Output string    `json:"output,omitempty"`
	Error  string    `json:"error,omitempty"`
	At     time.Time `json:"at"`
}

// announce adds an event and wakes who waits for it; the caller holds the mutex.
func (r *run) announce(e event) {
	r.events = append(r.events, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

// since returns the events after the first n, of which there are at least as many, whether the run is over, and else a channel
// that is closed when there is more.
func (r *run) since(n int) (more []event, over bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[n:], !r.finished.IsZero(), r.changed
}

// events sends a run's events as they come, from the first one after Last-Event-ID, until
// the run is over (Server-Sent Events, HTML Living Standard 9.2). Nothing is buffered for
// a slow client; one that takes nothing for a while is let go, and may resume.
func (s *Service) events(w http.ResponseWriter, r *http.Request) error {
	run, err := s.book.run(r.PathValue("id"), r.PathValue("run"))
	if err != nil {
		return err
	}
	seen, err := run.lastEventID(r)
	if err != nil {
		return err
	}
	events, over, changed := run.since(seen)
	if over && len(events) == 0 {
		// An EventSource reconnects when a stream ends; this tells it that there is no more.
		w.WriteHeader(http.StatusNoContent)
		return nil
	}

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // else nginx holds events back
	if r.Method == http.MethodHead {
		return nil
	}
	out := &stream{w: w, control: http.NewResponseController(w), stall: s.stall}
	if out.send(nil) != nil { // the headers: who resumes may have nothing else to hear for long
		return nil
	}
	alive := time.NewTicker(s.beat)
	defer alive.Stop()
	for {
		for _, e := range events {
			seen++
			if out.event(seen, e) != nil {
				return nil
			}
		}
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-alive.C:
			if out.comment("still running") != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
		events, over, changed = run.since(seen)
	}
}

// lastEventID returns how many events a client that resumes has seen.
func (r *run) lastEventID(req *http.Request) (int, error) {
	v := req.Header.Get("Last-Event-ID")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || int(n) > len(r.events) {
		return 0, invalid("Last-Event-ID", "must be the id of an event of this run")
	}
	return int(n), nil
}

// stream writes to one reader of events, and fails once the reader has taken nothing for
// the time stall.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

func (s *stream) event(id int, e event) error {
	name := "run"
	if e.Step > 0 {
		name = "step"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %d\nevent: %s\ndata: ", id, name)
	if err := newEncoder(&b).Encode(e); err != nil { // one line: JSON escapes line ends
		return err
	}
	b.WriteByte('\n')
	return s.send(b.Bytes())
}

func (s *stream) comment(text string) error { return s.send([]byte(": " + text + "\n\n")) }

func (s *stream) send(b []byte) error {
	// A deadline in the past makes a write that hangs return. Writers that know neither
	// deadlines nor flushing are left as they are.
	watch := time.AfterFunc(s.stall, func() { _ = s.control.SetWriteDeadline(time.Unix(1, 0)) })
	defer watch.Stop()
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
