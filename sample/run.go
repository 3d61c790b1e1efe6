package sample

import (
	"context"
	"net/http"
)

// maxAsking is how many callers of /run may wait for an answer at once, each of whom
// holds a prompt of up to a body's size in memory.
const maxAsking = 512

// run answers one prompt while the caller waits; a caller who hangs up ends the command.
// The answer is 200 only if the command ended well.
func (s *Service) run(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	prompt, err := body.text("prompt")
	if err != nil {
		return err
	}

	defer s.asking.Add(-1)
	if s.asking.Add(1) > maxAsking {
		return errBusy
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	id := "run_" + s.newID()
	output, err := s.answer(ctx, prompt, s.maxOutput)
	if err != nil {
		e := *asRefusal(err)
		e.run = id
		return &e
	}
	s.write(w, http.StatusOK, struct {
		ID     string `json:"id"`
		Status status `json:"status"`
		Output string `json:"output"`
	}{id, completed, output})
	return nil
}
