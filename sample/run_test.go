package sample_test

import (
	"strings"
	"testing"

	"doorward/sample"
)

func TestGreeterAnswersWithTheWholePrompt(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{NewID: func() string { return "1" }})
	got := h.do(t, "POST", "/run", `{"prompt": "Hello"}`, "Content-Type: application/x-www-form-urlencoded")
	if want := `{"id":"run_1","status":"completed","output":"Hello from Doorward's sample service. You said: Hello"}` + "\n"; got.body != want || got.status != 200 {
		t.Errorf("%d %s, want %s", got.status, got.body, want)
	}
}

func TestRunIDsDiffer(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	var one, two answer
	h.do(t, "POST", "/run", `{"prompt": "Hello"}`).want(t, 200, &one)
	h.do(t, "POST", "/run", `{"prompt": "Hello"}`).want(t, 200, &two)
	if one.ID == two.ID || len(one.ID) < 20 {
		t.Errorf("ids %q and %q", one.ID, two.ID)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	const notOne = "body: must be one JSON object and nothing after it"
	const notObject = "body: must be a JSON object"
	for _, c := range []struct {
		body, sentence string // no sentence: accepted
		status         int
	}{
		{`{"prompt": "Hello"}`, "", 200},
		{" \r\n\t{\"prompt\": \"Hello\"}\n\n", "", 200},
		{`{"prompt": "Hello", "model": {"deep": [1, {}]}, "": null}`, "", 200},
		{`{"prompt": " "}`, "", 200},
		{``, notOne, 400},
		{`{`, notOne, 400},
		{`{"prompt": "Hello"`, notOne, 400},
		{`{"prompt": "Hello"} {}`, notOne, 400},
		{`{"prompt": "Hello"}x`, notOne, 400},
		{`{"prompt": "Hello",}`, notOne, 400},
		{`{'prompt': 'Hello'}`, notOne, 400},
		{`prompt=Hello`, notOne, 400},
		{"\xef\xbb\xbf" + `{"prompt": "Hello"}`, notOne, 400},
		{"{\"prompt\": \"two\nlines\"}", notOne, 400},
		{strings.Repeat("[", 100_000), notOne, 400},
		{`{"prompt":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, notOne, 400},
		{"{\"prompt\": \"\xff\"}", "body: is not UTF-8", 400},
		{`[]`, notObject, 400},
		{`["prompt"]`, notObject, 400},
		{`"Hello"`, notObject, 400},
		{`null`, notObject, 400},
		{`7`, notObject, 400},
		{`{}`, "prompt: is required", 400},
		{`{"Prompt": "Hello"}`, "prompt: is required", 400},
		{`{"prompt": null}`, "prompt: is required", 400},
		{`{"prompt": ""}`, "prompt: must not be empty", 400},
		{`{"prompt": 7}`, "prompt: must be a string", 400},
		{`{"prompt": true}`, "prompt: must be a string", 400},
		{`{"prompt": ["Hello"]}`, "prompt: must be a string", 400},
		{`{"prompt": {"text": "Hello"}}`, "prompt: must be a string", 400},
		{`{"prompt": "one", "prompt": "two"}`, "prompt: is given twice", 400},
		{`{"prompt": "one", "x": 1, "\u0078": 2}`, "x: is given twice", 400},
		{`{"prompt": "` + strings.Repeat("x", 1<<20) + `"}`, "body: larger than 1048576 bytes", 413},
		{strings.Repeat(" ", 1<<20+1), "body: larger than 1048576 bytes", 413},
	} {
		got := h.do(t, "POST", "/run", c.body)
		if c.sentence == "" {
			got.want(t, c.status, &answer{})
			continue
		}
		t.Logf("%.60q", c.body)
		got.wantRefusal(t, c.status, c.sentence)
	}
	got := h.do(t, "POST", "/run", `{"prompt": "Hello"}`, "Content-Encoding: gzip")
	got.wantRefusal(t, 415, "content-encoding: compressed bodies are not read")
}

func TestLargestBody(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	prompt := strings.Repeat("x", 1<<20-len(`{"prompt":""}`))
	var got answer
	h.do(t, "POST", "/run", `{"prompt":"`+prompt+`"}`).want(t, 200, &got)
	if !strings.HasSuffix(got.Output, prompt) {
		t.Error("the answer lacks the prompt")
	}
}

// FuzzBodies shows that no body breaks the service: it is answered or refused with
// a 400, never otherwise.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{`{"prompt": "Hello"}`, `{"name": "x", "steps": ["a", {"prompt": "b"}]}`, `[`, `{"a":1,"a":1}`, "\xff"} {
		f.Add(seed)
	}
	svc, err := sample.New(sample.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { svc.Close() })
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/run", "/api/pipelines"} {
			got := serve(t, svc, "POST", path, body)
			ok := got.status == 400 || path == "/run" && got.status == 200 || path != "/run" && (got.status == 201 || got.status == 409)
			if !ok || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s with %q: %d %s", path, body, got.status, got.body)
			}
		}
	})
}
