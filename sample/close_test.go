package sample_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"doorward/sample"
)

// Not parallel, since it counts goroutines.
func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()

	l := newLine(t)
	h := open(t, commandOf(t, "family", l.Addr().String()))
	p := h.create(t, `{"name": "x", "steps": ["one", "two"]}`)
	r := h.begin(t, p.ID)
	inRun := l.accept(t)
	f := h.follow(t, r, "")
	f.want(t, "1 run running", "2 step 1 running")
	asked := make(chan reply, 1)
	go func() {
		got, err := h.try(t, "POST", "/run", `{"prompt": "x"}`)
		if err != nil {
			t.Error(err)
		}
		asked <- got
	}()
	inRequest := l.accept(t)

	if err := h.Service.Close(); err != nil {
		t.Fatal(err)
	}
	inRun.mustDie(t)
	inRequest.mustDie(t)
	(<-asked).wantRefusal(t, 503, "temporarily unavailable")
	f.want(t, "3 step 1 canceled", "4 step 2 skipped", "5 run canceled")
	f.wantEnd(t)

	h.do(t, "POST", "/run", `{"prompt": "x"}`).wantRefusal(t, 503, "temporarily unavailable")
	h.do(t, "POST", "/api/pipelines/"+p.ID+"/run", "").wantRefusal(t, 503, "temporarily unavailable")
	h.do(t, "GET", "/api/pipelines/"+p.ID, "").want(t, 200, &pipeline{})
	if err := h.Service.Close(); err != nil {
		t.Fatal(err)
	}

	h.Server.Close()
	f.hangUp()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks)
		}
	}
}

func TestCloseWhileCallersAreComing(t *testing.T) {
	t.Parallel()
	svc, err := sample.New(commandOf(t, "cat"))
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan reply)
	for range 16 {
		go func() { answers <- serve(t, svc, "POST", "/run", `{"prompt": "x"}`) }()
	}
	svc.Close()
	for range 16 {
		got := <-answers
		if got.status != 200 && (got.status != 503 || !strings.Contains(got.body, "temporarily unavailable")) {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}
