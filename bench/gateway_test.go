package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var connections = flag.Int("connections", 64, "how many connections BenchmarkGateway keeps busy")

// BenchmarkGateway sends the same load by turns through a bare ReverseProxy and through
// Doorward, each a process of its own in front of one service, and reports how they
// compare: ratio is the median, over all turns, of Doorward's requests a second by the bare
// one's. "the bare one again" is no other proxy but the bare one itself: how far its ratio
// is from 1 is how far this machine, at this moment, can be believed.
func BenchmarkGateway(b *testing.B) {
	programs := build(b)
	service := start(b, nil, programs["service"])
	bare := start(b, nil, programs["bare"], "http://"+service.addr)
	door := start(b, []string{"DOORWARD_API_TOKENS=" + apiToken, "DOORWARD_API_KEY=" + apiKey},
		programs["doorward"], "serve", "--listen", "127.0.0.1:0", "--data-dir", b.TempDir(), "--upstream", "http://"+service.addr)
	access, session := signIn(b, "http://"+door.addr)
	for _, c := range []struct {
		name, credential string
		through          *program
	}{
		{"access token", "Authorization: Bearer " + access, door},
		{"session cookie", "Cookie: theme=dark; brokoli_session=" + session, door},
		{"API token", "Authorization: Bearer " + apiToken, door},
		{"API key", "X-API-Key: " + apiKey, door},
		{"the bare one again", "Authorization: Bearer " + access, bare},
	} {
		b.Run(c.name, func(b *testing.B) {
			request := []byte("GET /api/items?page=2 HTTP/1.1\r\nHost: service.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" + c.credential + "\r\n\r\n")
			compare(b, newSide(b, bare, request), newSide(b, c.through, request))
		})
	}
}

// turn is how long one side is under load before it is the other's turn: long against the
// start and the end of it, short against what else the machine does.
const turn = 50 * time.Millisecond

func compare(b *testing.B, bare, door *side) {
	for _, s := range []*side{bare, door} { // connections to the service, the first use of a credential
		s.turn(b)
		s.sum, s.spent = result{}, 0
	}
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		order := [2]*side{bare, door}
		if i%2 == 1 {
			order = [2]*side{door, bare} // so that neither always comes after the other
		}
		rates := map[*side]float64{}
		for _, s := range order {
			rates[s] = s.turn(b)
		}
		ratios = append(ratios, rates[door]/rates[bare])
	}
	b.ReportMetric(0, "ns/op") // of a turn of both: means nothing
	slices.Sort(ratios)
	b.ReportMetric((ratios[(len(ratios)-1)/2]+ratios[len(ratios)/2])/2, "ratio")
	for name, s := range map[string]*side{"bare": bare, "door": door} {
		b.ReportMetric(s.sum.rate(), name+"-req/s")
		b.ReportMetric(float64(s.sum.percentile(50).Microseconds()), name+"-p50-us")
		b.ReportMetric(float64(s.sum.percentile(99).Microseconds()), name+"-p99-us")
		if s.spent > 0 {
			b.ReportMetric(float64(s.spent.Nanoseconds())/1e3/float64(len(s.sum.latencies)), name+"-cpu-us/req")
		}
	}
}

// side is one of two that are compared: a load on a proxy, and what came of it.
type side struct {
	load  *load
	proxy *program
	sum   result
	spent time.Duration // processor time of the proxy
}

func newSide(b *testing.B, proxy *program, request []byte) *side {
	l, err := newLoad(proxy.addr, *connections, request)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.close() })
	return &side{load: l, proxy: proxy}
}

// turn puts the proxy under load and returns the requests a second.
func (s *side) turn(b *testing.B) float64 {
	before := s.proxy.processorTime()
	r, err := s.load.run(turn)
	if err != nil {
		b.Fatal(err)
	}
	s.spent += s.proxy.processorTime() - before
	s.sum.add(r)
	return r.rate()
}

// build builds the programs, Doorward from this checkout.
func build(b *testing.B) map[string]string {
	dir := b.TempDir()
	paths := map[string]string{}
	for name, from := range map[string][2]string{"service": {".", "./service"}, "bare": {".", "./bare"}, "doorward": {"..", "./cmd/doorward"}} {
		paths[name] = filepath.Join(dir, name)
		cmd := exec.CommandContext(b.Context(), "go", "build", "-o", paths[name], from[1])
		cmd.Dir = from[0]
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("building %s: %v\n%s", name, err, out)
		}
	}
	return paths
}

// program is a process that listens.
type program struct {
	addr string
	pid  int
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// start runs a program until the benchmark is over.
func start(b *testing.B, environ []string, path string, args ...string) *program {
	b.Helper()
	cmd := exec.Command(path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DOORWARD_") && !strings.HasPrefix(v, "STROMBOLI_") && !strings.HasPrefix(v, "BROKOLI_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, environ...)
	input, err := cmd.StdinPipe() // ends when this process does, however that ends
	if err != nil {
		b.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	b.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Process.Kill()
		<-ended
	})
	addr, said := make(chan string, 1), new(bytes.Buffer)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				addr <- found[1]
				break
			}
			fmt.Fprintln(said, lines.Text())
		}
		_, _ = io.Copy(io.Discard, stderr)
		_ = cmd.Wait()
	}()
	select {
	case a := <-addr:
		return &program{addr: a, pid: cmd.Process.Pid}
	case <-ended:
		b.Fatalf("%s ended before it listened: %s", path, said)
	case <-time.After(30 * time.Second):
		b.Fatalf("%s does not listen", path)
	}
	return nil
}

// processorTime is what the process has taken so far, in steps of 10 ms; 0 where that
// cannot be known.
func (p *program) processorTime() time.Duration {
	if runtime.GOOS != "linux" {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0
	}
	// Field 2 is the name in parentheses; utime and stime are 14 and 15 (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

const (
	apiToken = "bench-5b1c0de2f97a4863"
	apiKey   = "brk_4a1f63d2b97e05c8a1f63d2b97e05c84a1f63d2b97e05c8a1f63d2b97e05c84d0e1f2a3"
)

// signIn makes the first user and returns an access token and the value of the session cookie.
func signIn(b *testing.B, door string) (access, session string) {
	b.Helper()
	const who = `{"username": "root", "password": "correct horse battery"}`
	send(b, door+"/api/auth/users", who, http.StatusCreated)
	resp, body := send(b, door+"/api/auth/login", who, http.StatusOK)
	var answer struct{ Token string }
	if err := json.Unmarshal(body, &answer); err != nil {
		b.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		if c.Name == "brokoli_session" {
			return answer.Token, c.Value
		}
	}
	b.Fatal("no session cookie")
	return "", ""
}

func send(b *testing.B, url, body string, want int) (*http.Response, []byte) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", apiKey)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode != want {
		b.Fatalf("%s: %s %s", url, resp.Status, answer)
	}
	return resp, answer
}
