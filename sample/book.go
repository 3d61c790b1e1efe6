package sample

import (
	"net/http"
	"slices"
	"sync"
)

// What is kept in memory, at most.
const (
	maxDefined = 64 << 20 // bytes of pipelines
	maxKept    = 64 << 20 // bytes of runs that have ended
	maxRuns    = 100      // runs of one pipeline
	maxActive  = 256      // runs under way, of all pipelines
)

// book holds the pipelines and their runs, within the bounds above: a pipeline too many
// is refused, a run that has ended makes room for newer ones. Safe for concurrent use.
type book struct {
	maxPipelines int
	maxDefined   int64
	maxKept      int64

	mu      sync.Mutex
	entries map[string]*entry
	order   []*entry // as created
	defined int64    // bytes of all definitions
	ended   []*run   // as ended, of all pipelines
	kept    int64    // bytes of those
	active  int
}

// entry is a pipeline's place in the book. The book's mutex guards it.
type entry struct {
	pipeline *pipeline
	runs     []*run // as started
	gone     bool
}

func newBook(maxPipelines int) *book {
	return &book{maxPipelines: maxPipelines, maxDefined: maxDefined, maxKept: maxKept, entries: map[string]*entry{}}
}

func (b *book) pipelines() []*pipeline {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*pipeline, len(b.order))
	for i, e := range b.order {
		all[i] = e.pipeline
	}
	return all
}

func (b *book) pipeline(id string) (*pipeline, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.entry(id)
	if err != nil {
		return nil, err
	}
	return e.pipeline, nil
}

// entry finds a pipeline's place; the caller holds the mutex.
func (b *book) entry(id string) (*entry, error) {
	e, ok := b.entries[id]
	if !ok {
		return nil, notFound("pipeline")
	}
	return e, nil
}

func (b *book) add(p *pipeline) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) >= b.maxPipelines {
		return errNoRoom
	}
	if err := b.resize(p.size()); err != nil {
		return err
	}
	e := &entry{pipeline: p}
	b.entries[p.ID] = e
	b.order = append(b.order, e)
	return nil
}

// replace puts a changed copy of a pipeline in its place and returns it. It is one act:
// of two changes at once neither is lost.
func (b *book) replace(id string, change func(*pipeline) error) (*pipeline, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.entry(id)
	if err != nil {
		return nil, err
	}
	p := *e.pipeline
	if err := change(&p); err != nil {
		return nil, err
	}
	if err := b.resize(p.size() - e.pipeline.size()); err != nil {
		return nil, err
	}
	e.pipeline = &p
	return &p, nil
}

var errNoRoom = &refusal{status: http.StatusConflict, message: "no room for more pipelines: delete some first"}

// resize makes room for definitions that take so many bytes more; the caller holds the mutex.
func (b *book) resize(by int64) error {
	if by > 0 && b.defined+by > b.maxDefined {
		return errNoRoom
	}
	b.defined += by
	return nil
}

// remove takes a pipeline out with all its runs, and cancels those under way.
func (b *book) remove(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.entry(id)
	if err != nil {
		return err
	}
	delete(b.entries, id)
	b.order = slices.DeleteFunc(b.order, func(o *entry) bool { return o == e })
	b.defined -= e.pipeline.size()
	for _, r := range e.runs {
		r.cancel()
	}
	e.gone = true
	e.runs = nil
	b.ended = slices.DeleteFunc(b.ended, func(r *run) bool {
		if r.entry != e {
			return false
		}
		b.kept -= r.bytes
		return true
	})
	return nil
}

// start enters a run that begin makes of the pipeline as it is now.
func (b *book) start(id string, begin func(*pipeline) *run) (*run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.entry(id)
	if err != nil {
		return nil, err
	}
	if b.active >= maxActive {
		return nil, errBusy
	}
	if len(e.runs) >= maxRuns {
		oldest := slices.IndexFunc(e.runs, func(r *run) bool { return r.ended })
		if oldest < 0 {
			return nil, errBusy
		}
		b.forget(slices.Index(b.ended, e.runs[oldest]))
	}
	r := begin(e.pipeline)
	r.entry = e
	e.runs = append(e.runs, r)
	b.active++
	return r, nil
}

// end notes that a run is over and takes up so many bytes, for which the runs that ended
// longest ago make room.
func (b *book) end(r *run, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active--
	if r.entry.gone {
		return
	}
	r.ended, r.bytes = true, bytes
	b.ended = append(b.ended, r)
	b.kept += bytes
	for b.kept > b.maxKept {
		b.forget(0)
	}
}

// forget drops the i-th of the runs that have ended; the caller holds the mutex.
func (b *book) forget(i int) {
	r := b.ended[i]
	b.ended = slices.Delete(b.ended, i, i+1)
	b.kept -= r.bytes
	r.entry.runs = slices.DeleteFunc(r.entry.runs, func(o *run) bool { return o == r })
}

// runs returns a pipeline's runs, newest first.
func (b *book) runs(id string) ([]*run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.entry(id)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(e.runs)
	slices.Reverse(all)
	return all, nil
}

func (b *book) run(id, run string) (*run, error) {
	all, err := b.runs(id)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.id == run {
			return r, nil
		}
	}
	return nil, notFound("run")
}
