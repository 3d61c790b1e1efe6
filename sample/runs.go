package sample

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A status is how far a run, or a step of it, has come.
type status string

const (
	pending   status = "pending" // steps only: not begun
	running   status = "running" // a step that waits for its turn to run a command included
	completed status = "completed"
	failed    status = "failed"
	canceled  status = "canceled" // the pipeline was deleted, or the service closed
	skipped   status = "skipped"  // steps only: one before it did not complete
)

// A run is one execution of a pipeline's steps, in order, in the background. It belongs to
// nobody's request: only its end, its pipeline's deletion or Close end it.
type run struct {
	id       string
	pipeline string
	created  time.Time
	cancel   context.CancelFunc

	// The book's: guarded by its mutex.
	entry *entry
	ended bool
	bytes int64

	mu       sync.Mutex
	status   status
	finished time.Time
	steps    []runStep
	events   []event
	changed  chan struct{} // closed, and replaced, at each event
}

// runView is a run as callers see it.
type runView struct {
	ID       string     `json:"id"`
	Pipeline string     `json:"pipeline_id"`
	Status   status     `json:"status"`
	Steps    []runStep  `json:"steps"`
	Created  time.Time  `json:"created_at"`
	Finished *time.Time `json:"finished_at,omitempty"`
	Events   string     `json:"events"` // path of the run's events
}

type runStep struct {
	Name   string `json:"name"`
	Status status `json:"status"`
	Output string `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (s *Service) startRun(w http.ResponseWriter, r *http.Request) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	var steps []step
	run, err := s.book.start(r.PathValue("id"), func(p *pipeline) *run {
		steps = p.Steps
		return newRun("run_"+s.newID(), p, s.now().UTC(), cancel)
	})
	if err != nil {
		cancel()
		leave()
		return err
	}
	view := run.view(true)
	go func() {
		defer leave()
		defer cancel()
		s.carryOut(ctx, run, steps)
	}()
	w.Header().Set("Location", "/api/pipelines/"+run.pipeline+"/runs/"+run.id)
	s.write(w, http.StatusAccepted, view)
	return nil
}

func (s *Service) listRuns(w http.ResponseWriter, r *http.Request) error {
	all, err := s.book.runs(r.PathValue("id"))
	if err != nil {
		return err
	}
	views := make([]runView, len(all))
	for i, run := range all {
		views[i] = run.view(false)
	}
	s.write(w, http.StatusOK, map[string][]runView{"runs": views})
	return nil
}

func (s *Service) showRun(w http.ResponseWriter, r *http.Request) error {
	run, err := s.book.run(r.PathValue("id"), r.PathValue("run"))
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, run.view(true))
	return nil
}

// carryOut runs the steps one after the other. The first that does not complete decides
// how the run ends, and the rest are skipped.
func (s *Service) carryOut(ctx context.Context, run *run, steps []step) {
	end := completed
	room := s.maxOutput
	for i, st := range steps {
		if end != completed {
			run.note(s.now(), i, runStep{Status: skipped})
			continue
		}
		run.note(s.now(), i, runStep{Status: running})
		output, err := s.answer(ctx, st.Prompt, room)
		switch {
		case err == nil:
			room -= int64(len(output))
			run.note(s.now(), i, runStep{Status: completed, Output: output})
		case ctx.Err() != nil:
			end = canceled
			run.note(s.now(), i, runStep{Status: canceled})
		default:
			end = failed
			run.note(s.now(), i, runStep{Status: failed, Error: asRefusal(err).message})
			s.log.Warn("sample pipeline failed", "pipeline", run.pipeline, "run", run.id, "step", i+1, "error", err)
		}
	}
	// Out of the books before it is over for those who watch: who has seen the end can
	// count on the run no longer being under way.
	s.book.end(run, run.size())
	run.end(s.now(), end)
}

func newRun(id string, p *pipeline, at time.Time, cancel context.CancelFunc) *run {
	r := &run{id: id, pipeline: p.ID, created: at, cancel: cancel, status: running, changed: make(chan struct{})}
	r.steps = make([]runStep, len(p.Steps))
	for i, st := range p.Steps {
		r.steps[i] = runStep{Name: st.Name, Status: pending}
	}
	r.events = append(r.events, event{Run: id, Status: running, At: at})
	return r
}

// note records how far the i-th step has come.
func (r *run) note(at time.Time, i int, now runStep) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now.Name = r.steps[i].Name
	r.steps[i] = now
	r.announce(event{Run: r.id, Step: i + 1, Name: now.Name, Status: now.Status, Output: now.Output, Error: now.Error, At: at.UTC()})
}

// end records how the run ended; nothing is announced after it.
func (r *run) end(at time.Time, how status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.finished = how, at.UTC()
	r.announce(event{Run: r.id, Status: how, At: r.finished})
}

// size is about how many bytes the run takes up once it has ended.
func (r *run) size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 1024
	for _, st := range r.steps {
		n += 512 + len(st.Name) + len(st.Output) + len(st.Error) // events share the strings
	}
	return int64(n)
}

func (r *run) view(outputs bool) runView {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := runView{
		ID: r.id, Pipeline: r.pipeline, Status: r.status, Created: r.created,
		Steps:  make([]runStep, len(r.steps)),
		Events: "/api/pipelines/" + r.pipeline + "/runs/" + r.id + "/events",
	}
	copy(v.Steps, r.steps)
	if !outputs {
		for i := range v.Steps {
			v.Steps[i].Output = ""
		}
	}
	if !r.finished.IsZero() {
		finished := r.finished
		v.Finished = &finished
	}
	return v
}
