package sample_test

import (
	"fmt"
	"strings"
	"testing"

	"doorward/sample"
)

func statuses(r run) string {
	all := []string{r.Status}
	for _, st := range r.Steps {
		all = append(all, st.Status)
	}
	return strings.Join(all, " ")
}

func TestStepsRunInOrderByThemselves(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "ask", l.Addr().String()))
	p := h.create(t, `{"name": "x", "steps": ["one", {"name": "second", "prompt": "two"}]}`)
	started := h.do(t, "POST", "/api/pipelines/"+p.ID+"/run", "")
	var r run
	started.want(t, 202, &r) // and the request is over, while nothing has been answered
	path := "/api/pipelines/" + p.ID + "/runs/" + r.ID
	if r.Pipeline != p.ID || started.header.Get("Location") != path || r.Events != path+"/events" || r.Finished != nil {
		t.Errorf("started %+v", r)
	}

	first := l.accept(t)
	h.do(t, "GET", path, "").want(t, 200, &r)
	if first.said != "one" || statuses(r) != "running running pending" {
		t.Errorf("at the first step: %q, %s", first.said, statuses(r))
	}
	first.reply(t, "ONE")
	second := l.accept(t)
	h.do(t, "GET", path, "").want(t, 200, &r)
	if second.said != "two" || statuses(r) != "running completed running" || r.Steps[0].Output != "ONE" {
		t.Errorf("at the second step: %q, %s, %+v", second.said, statuses(r), r.Steps)
	}
	second.reply(t, "TWO")
	r = h.await(t, r)
	if statuses(r) != "completed completed completed" || r.Steps[1].Output != "TWO" || r.Steps[0].Name != "step 1" || r.Steps[1].Name != "second" || r.Finished == nil {
		t.Errorf("at the end: %+v", r)
	}
}

func TestFailingStepFailsTheRun(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "fail-on", "bad"))
	p := h.create(t, `{"name": "x", "steps": ["good", "bad", "good", "bad"]}`)
	r := h.await(t, h.begin(t, p.ID))
	if statuses(r) != "failed completed failed skipped skipped" || r.Steps[0].Output != "good" || r.Steps[1].Error != "command failed: exit status 3" {
		t.Errorf("got %+v", r)
	}
}

func TestRunWithoutSteps(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	r := h.await(t, h.begin(t, h.create(t, `{"name": "x"}`).ID))
	if r.Status != "completed" || r.Steps == nil || len(r.Steps) != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestOutputLimitIsForAllStepsTogether(t *testing.T) {
	t.Parallel()
	c := commandOf(t, "cat")
	c.MaxOutput = 10
	h := open(t, c)
	p := h.create(t, `{"name": "x", "steps": ["12345", "12345", "1"]}`)
	r := h.await(t, h.begin(t, p.ID))
	if statuses(r) != "failed completed completed failed" || r.Steps[2].Error != "command printed too much: a run may print 10 bytes" {
		t.Errorf("got %+v", r)
	}
}

func TestRunKeepsTheStepsItBeganWith(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "ask", l.Addr().String()))
	p := h.create(t, `{"name": "x", "steps": ["one", "two"]}`)
	r := h.begin(t, p.ID)
	first := l.accept(t)
	h.do(t, "PUT", "/api/pipelines/"+p.ID, `{"name": "x", "steps": ["other"]}`).want(t, 200, &pipeline{})
	first.reply(t, "ONE")
	second := l.accept(t)
	if second.said != "two" {
		t.Errorf("the second step was %q", second.said)
	}
	second.reply(t, "TWO")
	if r = h.await(t, r); statuses(r) != "completed completed completed" {
		t.Errorf("got %+v", r)
	}
}

func TestDeletionEndsRuns(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "ask", l.Addr().String()))
	p := h.create(t, `{"name": "x", "steps": ["one", "two"]}`)
	r := h.begin(t, p.ID)
	s := h.follow(t, r, "")
	child := l.accept(t)
	if got := h.do(t, "DELETE", "/api/pipelines/"+p.ID, ""); got.status != 204 {
		t.Fatalf("DELETE: %d", got.status)
	}
	child.mustDie(t)
	s.want(t, "1 run running", "2 step 1 running", "3 step 1 canceled", "4 step 2 skipped", "5 run canceled")
	s.wantEnd(t)
	h.do(t, "GET", r.Events, "").wantRefusal(t, 404, "pipeline not found")
}

func TestLastHundredRunsAreKept(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	p := h.create(t, `{"name": "x", "steps": ["Hello"]}`)
	var ids []string
	for range 103 {
		r := h.await(t, h.begin(t, p.ID))
		ids = append(ids, r.ID)
	}
	var got struct{ Runs []run }
	h.do(t, "GET", "/api/pipelines/"+p.ID+"/runs", "").want(t, 200, &got)
	if len(got.Runs) != 100 || got.Runs[0].ID != ids[102] || got.Runs[99].ID != ids[3] {
		t.Errorf("%d runs kept", len(got.Runs))
	}
	if got.Runs[0].Steps[0].Output != "" || got.Runs[0].Steps[0].Status != "completed" {
		t.Errorf("listed with %+v", got.Runs[0].Steps)
	}
	h.do(t, "GET", fmt.Sprintf("/api/pipelines/%s/runs/%s", p.ID, ids[2]), "").wantRefusal(t, 404, "run not found")
}

func TestRunsUnderWayAreNeverForgotten(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c := commandOf(t, "ask", l.Addr().String())
	c.MaxConcurrent = 1
	h := open(t, c)
	p := h.create(t, `{"name": "x", "steps": ["one"]}`)
	for range 100 {
		h.begin(t, p.ID)
	}
	got := h.do(t, "POST", "/api/pipelines/"+p.ID+"/run", "")
	got.wantRefusal(t, 503, "temporarily unavailable")
	if got.header.Get("Retry-After") != "1" {
		t.Error("Retry-After is missing")
	}
}

func TestRunOfAnotherPipelineIsNotFound(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	one, two := h.create(t, `{"name": "x"}`), h.create(t, `{"name": "y"}`)
	r := h.await(t, h.begin(t, one.ID))
	h.do(t, "GET", "/api/pipelines/"+two.ID+"/runs/"+r.ID, "").wantRefusal(t, 404, "run not found")
}
