package sample

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	maxName  = 256 // characters
	maxSteps = 100
)

// A pipeline is a named list of steps. It never changes once made: an update puts another
// in its place, so that it may be read without a lock.
type pipeline struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // need not be unique
	Steps   []step    `json:"steps"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
}

// A step is a prompt for the command. Steps see nothing of each other's answers. In a
// request a step may also be written as the prompt alone; without a name it is called by
// its place.
type step struct {
	Name   string `json:"name"`
	Prompt string `json:"prompt"`
}

// size is about how many bytes p takes up in memory.
func (p *pipeline) size() int64 {
	n := 512 + len(p.Name)
	for _, st := range p.Steps {
		n += 64 + len(st.Name) + len(st.Prompt)
	}
	return int64(n)
}

func (s *Service) listPipelines(w http.ResponseWriter, _ *http.Request) error {
	// Item by item: all together they may be larger than one answer should take up.
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	enc := newEncoder(out)
	_, _ = out.WriteString(`{"pipelines":[`)
	for i, p := range s.book.pipelines() {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		if err := enc.Encode(p); err != nil {
			return nil // the client has hung up; the answer has begun, so nothing else can be said
		}
	}
	_, _ = out.WriteString("]}\n")
	_ = out.Flush()
	return nil
}

func (s *Service) createPipeline(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var p pipeline
	if err := p.fill(body); err != nil {
		return err
	}
	p.ID = "pl_" + s.newID()
	p.Created = s.now().UTC()
	p.Updated = p.Created
	if err := s.book.add(&p); err != nil {
		return err
	}
	w.Header().Set("Location", "/api/pipelines/"+p.ID)
	s.write(w, http.StatusCreated, &p)
	return nil
}

func (s *Service) showPipeline(w http.ResponseWriter, r *http.Request) error {
	p, err := s.book.pipeline(r.PathValue("id"))
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, p)
	return nil
}

func (s *Service) replacePipeline(w http.ResponseWriter, r *http.Request) error {
	return s.update(w, r, (*pipeline).fill)
}

func (s *Service) changePipeline(w http.ResponseWriter, r *http.Request) error {
	return s.update(w, r, (*pipeline).patch)
}

// update puts a pipeline with what with has read from the body in the place of another.
// Runs under way keep the steps they began with.
func (s *Service) update(w http.ResponseWriter, r *http.Request, with func(*pipeline, fields) error) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	p, err := s.book.replace(r.PathValue("id"), func(p *pipeline) error {
		p.Updated = s.now().UTC()
		return with(p, body)
	})
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, p)
	return nil
}

func (s *Service) deletePipeline(w http.ResponseWriter, r *http.Request) error {
	if err := s.book.remove(r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// fill sets both name and steps from a body; without steps there are none.
func (p *pipeline) fill(body fields) error {
	name, err := body.name("name")
	if err != nil {
		return err
	}
	steps, err := readSteps(body)
	if err != nil {
		return err
	}
	p.Name, p.Steps = name, steps
	return nil
}

// patch sets what the body has; a null takes the steps away (as in RFC 7396).
func (p *pipeline) patch(body fields) error {
	if _, given := body.values["name"]; given {
		name, err := body.name("name")
		if err != nil {
			return err
		}
		p.Name = name
	}
	if _, given := body.values["steps"]; given {
		steps, err := readSteps(body)
		if err != nil {
			return err
		}
		p.Steps = steps
	}
	return nil
}

func readSteps(body fields) ([]step, error) {
	list, err := body.list("steps", maxSteps)
	if err != nil {
		return nil, err
	}
	steps := make([]step, 0, len(list)) // an empty list is [], never null
	for i, raw := range list {
		st, err := readStep(i, raw)
		if err != nil {
			return nil, err
		}
		steps = append(steps, st)
	}
	return slices.Clip(steps), nil
}

func readStep(i int, raw json.RawMessage) (step, error) {
	what := fmt.Sprintf("steps[%d]", i)
	st := step{Name: fmt.Sprintf("step %d", i+1)}
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &st.Prompt); err != nil {
			return step{}, invalid(what, "must be a prompt or an object")
		}
		if st.Prompt == "" {
			return step{}, invalid(what, "must not be empty")
		}
		return st, nil
	}
	if raw[0] != '{' {
		return step{}, invalid(what, "must be a prompt or an object")
	}
	f, err := parseObject(what, what+".", raw)
	if err != nil {
		return step{}, err
	}
	if st.Prompt, err = f.text("prompt"); err != nil {
		return step{}, err
	}
	if _, given := f.get("name"); !given {
		return st, nil
	}
	if st.Name, err = f.name("name"); err != nil {
		return step{}, err
	}
	return st, nil
}
