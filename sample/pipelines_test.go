package sample_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward/sample"
)

// counted makes ids "1", "2", ... and times a second apart.
func counted() sample.Config {
	var mu sync.Mutex
	ids, seconds := 0, int64(0)
	return sample.Config{
		NewID: func() string { mu.Lock(); defer mu.Unlock(); ids++; return fmt.Sprint(ids) },
		Now:   func() time.Time { mu.Lock(); defer mu.Unlock(); seconds++; return time.Unix(seconds, 0) },
	}
}

func TestPipelineShapes(t *testing.T) {
	t.Parallel()
	h := open(t, counted())
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/api/pipelines", ``, `{"pipelines":[]}`},
		{"POST", "/api/pipelines", `{"name": "one"}`, `{"id":"pl_1","name":"one","steps":[],"created_at":"1970-01-01T00:00:01Z","updated_at":"1970-01-01T00:00:01Z"}`},
		{"POST", "/api/pipelines", `{"name": "one", "steps": ["a", {"name": "second", "prompt": "b"}, {"prompt": "c"}]}`,
			`{"id":"pl_2","name":"one","steps":[{"name":"step 1","prompt":"a"},{"name":"second","prompt":"b"},{"name":"step 3","prompt":"c"}],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:02Z"}`},
		{"PATCH", "/api/pipelines/pl_2", `{"name": "two"}`,
			`{"id":"pl_2","name":"two","steps":[{"name":"step 1","prompt":"a"},{"name":"second","prompt":"b"},{"name":"step 3","prompt":"c"}],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:03Z"}`},
		{"PATCH", "/api/pipelines/pl_2", `{"steps": ["d"]}`, `{"id":"pl_2","name":"two","steps":[{"name":"step 1","prompt":"d"}],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:04Z"}`},
		{"PUT", "/api/pipelines/pl_2", `{"id": "pl_9", "name": "three"}`, `{"id":"pl_2","name":"three","steps":[],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:05Z"}`},
		{"GET", "/api/pipelines/pl_2", ``, `{"id":"pl_2","name":"three","steps":[],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:05Z"}`},
		{"DELETE", "/api/pipelines/pl_1", ``, ``},
		{"GET", "/api/pipelines/pl_1", ``, `{"error":"pipeline not found","status":"error"}`},
		{"DELETE", "/api/pipelines/pl_1", ``, `{"error":"pipeline not found","status":"error"}`},
		{"PATCH", "/api/pipelines/pl_2", `{"steps": ["d"]}`, `{"id":"pl_2","name":"three","steps":[{"name":"step 1","prompt":"d"}],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:06Z"}`},
		{"PATCH", "/api/pipelines/pl_2", `{"steps": null}`, `{"id":"pl_2","name":"three","steps":[],"created_at":"1970-01-01T00:00:02Z","updated_at":"1970-01-01T00:00:07Z"}`},
		{"GET", "/api/pipelines/pl_2/runs", ``, `{"runs":[]}`},
	} {
		got := h.do(t, c.method, c.path, c.body)
		if strings.TrimSpace(got.body) != c.want {
			t.Errorf("%s %s %s: %d\n got %s\nwant %s", c.method, c.path, c.body, got.status, got.body, c.want)
		}
		if c.method == "DELETE" && c.want == "" && got.status != 204 {
			t.Errorf("DELETE: %d", got.status)
		}
		if c.method == "POST" && got.header.Get("Location") != "/api/pipelines/"+c.want[7:11] {
			t.Errorf("Location %q", got.header.Get("Location"))
		}
	}
}

func TestPipelinesAreListedAsCreated(t *testing.T) {
	t.Parallel()
	h := open(t, counted())
	for i := range 5 {
		h.create(t, fmt.Sprintf(`{"name": "p%d <&>"}`, i))
	}
	h.do(t, "DELETE", "/api/pipelines/pl_3", "")
	h.do(t, "PATCH", "/api/pipelines/pl_1", `{"name": "changed"}`)
	var got struct{ Pipelines []pipeline }
	h.do(t, "GET", "/api/pipelines", "").want(t, 200, &got)
	var names []string
	for _, p := range got.Pipelines {
		names = append(names, p.Name)
	}
	if want := []string{"changed", "p1 <&>", "p3 <&>", "p4 <&>"}; !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}
}

func TestPipelineBodies(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	id := h.create(t, `{"name": "x"}`).ID
	long := strings.Repeat("ü", 256)
	for _, c := range []struct{ body, sentence string }{
		{`{"name": "` + long + `"}`, ""},
		{`{"name": "x", "steps": []}`, ""},
		{`{"name": "x", "steps": null}`, ""},
		{`{"name": "x", "steps": [` + strings.Repeat(`"a",`, 99) + `"a"]}`, ""},
		{`{"name": "x", "steps": [{"prompt": "a", "name": null, "other": 1}], "other": {}}`, ""},
		{`{"name": "` + long + `u"}`, "name: must have at most 256 characters"},
		{`{"name": ""}`, "name: must not be empty"},
		{`{"name": " \t"}`, "name: must not be blank"},
		{`{"name": null}`, "name: is required"},
		{`{"name": 1}`, "name: must be a string"},
		{`{"name": "x", "steps": {}}`, "steps: must be a list"},
		{`{"name": "x", "steps": "a"}`, "steps: must be a list"},
		{`{"name": "x", "steps": [` + strings.Repeat(`"a",`, 100) + `"a"]}`, "steps: must have at most 100 entries"},
		{`{"name": "x", "steps": ["a", 1]}`, "steps[1]: must be a prompt or an object"},
		{`{"name": "x", "steps": [null]}`, "steps[0]: must be a prompt or an object"},
		{`{"name": "x", "steps": [["a"]]}`, "steps[0]: must be a prompt or an object"},
		{`{"name": "x", "steps": [""]}`, "steps[0]: must not be empty"},
		{`{"name": "x", "steps": [{}]}`, "steps[0].prompt: is required"},
		{`{"name": "x", "steps": [{"prompt": 1}]}`, "steps[0].prompt: must be a string"},
		{`{"name": "x", "steps": [{"prompt": "a", "name": 1}]}`, "steps[0].name: must be a string"},
		{`{"name": "x", "steps": [{"prompt": "a", "name": "` + long + `u"}]}`, "steps[0].name: must have at most 256 characters"},
		{`{"name": "x", "steps": [{"prompt": "a", "prompt": "b"}]}`, "steps[0].prompt: is given twice"},
		{`{"name": "x", "name": "y"}`, "name: is given twice"},
		{`[]`, "body: must be a JSON object"},
		{`{"name": "x"`, "body: must be one JSON object and nothing after it"},
		{`{"name": "` + strings.Repeat("x", 1<<20) + `"}`, "body: larger than 1048576 bytes"},
	} {
		for _, request := range []string{"POST /api/pipelines", "PUT /api/pipelines/" + id, "PATCH /api/pipelines/" + id} {
			method, path, _ := strings.Cut(request, " ")
			got := h.do(t, method, path, c.body)
			t.Logf("%s %.60s", method, c.body)
			switch {
			case c.sentence == "" && method == "POST":
				got.want(t, 201, &pipeline{})
			case c.sentence == "":
				got.want(t, 200, &pipeline{})
			case strings.HasPrefix(c.sentence, "body: larger"):
				got.wantRefusal(t, 413, c.sentence)
			default:
				got.wantRefusal(t, 400, c.sentence)
			}
		}
	}
	h.do(t, "POST", "/api/pipelines", `{}`).wantRefusal(t, 400, "name: is required")
	h.do(t, "PUT", "/api/pipelines/"+id, `{"steps": []}`).wantRefusal(t, 400, "name: is required")
	h.do(t, "PATCH", "/api/pipelines/"+id, `{}`).want(t, 200, &pipeline{})
}

func TestRefusedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, counted())
	p := h.create(t, `{"name": "x", "steps": ["a"]}`)
	before := h.do(t, "GET", "/api/pipelines/"+p.ID, "").body
	h.do(t, "PATCH", "/api/pipelines/"+p.ID, `{"name": "y", "steps": [1]}`)
	if after := h.do(t, "GET", "/api/pipelines/"+p.ID, "").body; after != before {
		t.Errorf("became %s", after)
	}
}

func TestPipelinesAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{MaxPipelines: 2})
	first := h.create(t, `{"name": "1"}`)
	h.create(t, `{"name": "2"}`)
	h.do(t, "POST", "/api/pipelines", `{"name": "3"}`).wantRefusal(t, 409, "no room for more pipelines: delete some first")
	h.do(t, "DELETE", "/api/pipelines/"+first.ID, "")
	h.create(t, `{"name": "3"}`)
}

func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	shared := h.create(t, `{"name": "shared", "steps": ["a", "b"]}`)
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for _, request := range []struct {
				method, path, body string
				status             int
			}{
				{"POST", "/run", `{"prompt": "Hello"}`, 200},
				{"POST", "/api/pipelines", fmt.Sprintf(`{"name": "p%d"}`, i), 201},
				{"GET", "/api/pipelines", "", 200},
				{"PATCH", "/api/pipelines/" + shared.ID, fmt.Sprintf(`{"steps": ["%d"]}`, i), 200},
				{"POST", "/api/pipelines/" + shared.ID + "/run", "", 202},
				{"GET", "/api/pipelines/" + shared.ID + "/runs", "", 200},
				{"GET", "/", "", 200},
			} {
				got, err := h.try(t, request.method, request.path, request.body)
				if err != nil || got.status != request.status {
					t.Errorf("%s %s: %d %s %v", request.method, request.path, got.status, got.body, err)
				}
			}
		})
	}
	callers.Wait()

	var pipelines struct{ Pipelines []pipeline }
	h.do(t, "GET", "/api/pipelines", "").want(t, 200, &pipelines)
	seen := map[string]bool{}
	for _, p := range pipelines.Pipelines {
		seen[p.Name] = true
	}
	if len(pipelines.Pipelines) != 65 || len(seen) != 65 {
		t.Errorf("%d pipelines, %d names", len(pipelines.Pipelines), len(seen))
	}
	var runs struct{ Runs []run }
	h.do(t, "GET", "/api/pipelines/"+shared.ID+"/runs", "").want(t, 200, &runs)
	if len(runs.Runs) != 64 {
		t.Errorf("%d runs", len(runs.Runs))
	}
	for _, r := range runs.Runs {
		if ended := h.await(t, r); ended.Status != "completed" {
			t.Errorf("run %s: %s", r.ID, ended.Status)
		}
	}
}

func TestManyCallersOfACommandAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "cat"))
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			prompt := fmt.Sprintf("prompt %d", i)
			got, err := h.try(t, "POST", "/run", `{"prompt": "`+prompt+`"}`)
			if err != nil || got.status != 200 || !strings.Contains(got.body, `"output":"`+prompt+`"`) {
				t.Errorf("%q: %d %s %v", prompt, got.status, got.body, err)
			}
		})
	}
	callers.Wait()
}
