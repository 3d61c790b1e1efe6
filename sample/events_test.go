package sample_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"doorward/sample"
)

// A follower reads an event stream as it comes.
type follower struct {
	*bufio.Reader
	res    *http.Response
	hangUp context.CancelFunc
}

type event struct {
	Run                         string `json:"run_id"`
	Step                        int
	Name, Status, Output, Error string
	At                          string
}

// follow opens a run's events after the event with this id, or all.
func (h house) follow(t *testing.T, r run, after string) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", h.URL+r.Events, nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := h.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("events: %d %q", res.StatusCode, ct)
	}
	return &follower{bufio.NewReader(res.Body), res, cancel}
}

// next reads one event and returns its id, name and data.
func (f *follower) next(t *testing.T) (id, name string, data event) {
	t.Helper()
	for {
		text, err := f.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		if strings.HasPrefix(text, ":") {
			_, _ = f.ReadString('\n') // a sign of life, and the empty line after it
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
		switch key {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				t.Fatalf("%v in %q", err, value)
			}
		case "":
			return id, name, data
		default:
			t.Fatalf("unexpected line %q", text)
		}
	}
}

// want reads events like "3 step 1 completed".
func (f *follower) want(t *testing.T, want ...string) (last event) {
	t.Helper()
	for _, w := range want {
		id, name, e := f.next(t)
		got := fmt.Sprintf("%s %s %s", id, name, e.Status)
		if e.Step > 0 {
			got = fmt.Sprintf("%s %s %d %s", id, name, e.Step, e.Status)
		}
		if got != w {
			t.Fatalf("event %q, want %q", got, w)
		}
		last = e
	}
	return last
}

func (f *follower) wantEnd(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(f); err != nil || len(rest) > 0 {
		t.Fatalf("after the last event: %q, %v", rest, err)
	}
}

func TestEventsReplayFollowAndResume(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "ask", l.Addr().String()))
	p := h.create(t, `{"name": "x", "steps": ["one", {"name": "second", "prompt": "two"}]}`)
	r := h.begin(t, p.ID)

	early := h.follow(t, r, "")
	early.want(t, "1 run running", "2 step 1 running") // live: nothing has been answered yet
	l.accept(t).reply(t, "several words")
	if e := early.want(t, "3 step 1 completed"); e.Output != "several words" || e.Name != "step 1" || e.Run != r.ID || e.At == "" {
		t.Errorf("event %+v", e)
	}
	early.want(t, "4 step 2 running")

	late := h.follow(t, r, "") // the past first, then the same as the others
	late.want(t, "1 run running", "2 step 1 running", "3 step 1 completed", "4 step 2 running")
	resumed := h.follow(t, r, "3")
	resumed.want(t, "4 step 2 running")
	caughtUp := h.follow(t, r, "4")

	l.accept(t).reply(t, "more")
	for _, f := range []*follower{early, late, resumed, caughtUp} {
		f.want(t, "5 step 2 completed", "6 run completed")
		f.wantEnd(t)
	}

	after := h.follow(t, r, "") // all of it is past
	after.want(t, "1 run running", "2 step 1 running", "3 step 1 completed", "4 step 2 running", "5 step 2 completed", "6 run completed")
	after.wantEnd(t)
	last := h.follow(t, r, "5")
	last.want(t, "6 run completed")
	last.wantEnd(t)
	if got := h.do(t, "GET", r.Events, "", "Last-Event-ID: 6"); got.status != 204 || got.body != "" {
		t.Errorf("after the last event: %d %q", got.status, got.body)
	}
}

func TestEventsAreOneLineEach(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "print", "a\n\nb\r\nid: 9\n\ndata: x\u2028"))
	r := h.begin(t, h.create(t, `{"name": "x", "steps": [{"name": "n\n\nm", "prompt": "p"}]}`).ID)
	f := h.follow(t, r, "")
	f.want(t, "1 run running", "2 step 1 running")
	if e := f.want(t, "3 step 1 completed"); e.Output != "a\n\nb\r\nid: 9\n\ndata: x\u2028" || e.Name != "n\n\nm" {
		t.Errorf("event %+v", e)
	}
	f.want(t, "4 run completed")
	f.wantEnd(t)
}

func TestEventsOfAFailure(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "exit", "3"))
	r := h.begin(t, h.create(t, `{"name": "x", "steps": ["a", "b"]}`).ID)
	f := h.follow(t, r, "")
	f.want(t, "1 run running", "2 step 1 running")
	if e := f.want(t, "3 step 1 failed"); e.Error != "command failed: exit status 3" || e.Output != "" {
		t.Errorf("event %+v", e)
	}
	f.want(t, "4 step 2 skipped", "5 run failed")
	f.wantEnd(t)
}

func TestEventIDsThatNeverWere(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	r := h.begin(t, h.create(t, `{"name": "x"}`).ID)
	h.await(t, r)
	for _, id := range []string{"3", "99999999999999999999", "2147483647", "-1", "+1", "x", "1.0", "0x1"} {
		h.do(t, "GET", r.Events, "", "Last-Event-ID: "+id).wantRefusal(t, 400, "Last-Event-ID: must be the id of an event of this run")
	}
	if got := h.do(t, "GET", r.Events, "", "Last-Event-ID: 0"); got.status != 200 || strings.Count(got.body, "data: ") != 2 {
		t.Errorf("from the start: %d %s", got.status, got.body)
	}
}

func TestHeadOfEventsDoesNotWait(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "ask", l.Addr().String()))
	r := h.begin(t, h.create(t, `{"name": "x", "steps": ["one"]}`).ID)
	l.accept(t)
	if got := h.do(t, "HEAD", r.Events, ""); got.status != 200 || got.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %v", got.status, got.header)
	}
}

func TestWhoStopsFollowingIsLetGo(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "ask", l.Addr().String()))
	returned := make(chan struct{}, 1)
	inner := h.Server.Config.Handler
	h.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, "/events") {
			returned <- struct{}{}
		}
	})
	r := h.begin(t, h.create(t, `{"name": "x", "steps": ["one"]}`).ID)
	child := l.accept(t)
	f := h.follow(t, r, "")
	f.want(t, "1 run running", "2 step 1 running")
	f.hangUp()
	<-returned // while the run goes on
	child.reply(t, "still here")
	if r := h.await(t, r); r.Status != "completed" {
		t.Errorf("the run %s", r.Status)
	}
}

func TestManyFollowersSeeTheSame(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	steps := strings.TrimSuffix(strings.Repeat(`"a",`, 100), ",")
	r := h.begin(t, h.create(t, `{"name": "x", "steps": [`+steps+`]}`).ID)
	bodies := make(chan string)
	for range 16 {
		go func() {
			got, err := h.try(t, "GET", r.Events, "")
			if err != nil {
				t.Error(err)
			}
			bodies <- got.body
		}()
	}
	var all []string
	for range 16 {
		all = append(all, <-bodies)
	}
	if all = slices.Compact(all); len(all) != 1 || strings.Count(all[0], "\ndata: ") != 202 {
		t.Errorf("%d different streams, the first of %d events", len(all), strings.Count(all[0], "\ndata: "))
	}
}
