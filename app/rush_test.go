package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rushed is what a rush of sign-ins does to a server.
type rushed struct {
	base, peak   int           // KiB of memory, before and at most
	idle, during time.Duration // p99 of what a good token waits for
	idleMedian   time.Duration
	median       time.Duration
	floorIdle    time.Duration // p99 of what a program waits for that has nothing to do with us, on the same machine
	floorDuring  time.Duration
	answering    time.Duration // what one waited at most while the refusals were written
	asked        int           // with a good token, during the rush
	statuses     map[int]int   // of the sign-ins
	refusal      time.Duration // p99 of what a 429 takes
	lasted       time.Duration
}

// wire is a connection that asks one thing again and again.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialProgram(t testing.TB, addr string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &wire{conn, bufio.NewReader(conn)}
}

// ask sends a request and reads the answer.
func (w *wire) ask(request string) (status int, took time.Duration, err error) {
	_ = w.conn.SetDeadline(time.Now().Add(time.Minute))
	began := time.Now()
	if _, err = io.WriteString(w.conn, request); err != nil {
		return 0, 0, err
	}
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return 0, 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, time.Since(began), err
}

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*p/100)]
}

// rush lets n people sign in at once at the real program, on connections that stand
// already, and looks at how a good token fares meanwhile.
func rush(t testing.TB, s *served, n int) (r rushed) {
	t.Helper()
	var answering atomic.Int64 // refusals still to come
	good := "GET /auth/validate HTTP/1.1\r\nHost: door.example\r\nAuthorization: Bearer " + tokenAt(t, s) + "\r\n\r\n"
	asker := dialProgram(t, s.addr)
	validate := func() time.Duration {
		status, took, err := asker.ask(good)
		if err != nil || status != http.StatusOK {
			t.Fatalf("a good token: %d, %v", status, err)
		}
		return took
	}
	floor := dialProgram(t, floorHere(t))
	askFloor := func() time.Duration {
		status, took, err := floor.ask("GET / HTTP/1.1\r\nHost: floor.example\r\n\r\n")
		if err != nil || status != http.StatusOK {
			t.Fatalf("the floor: %d, %v", status, err)
		}
		return took
	}
	// At the rhythm of a client that has other things to do, so that it takes no turn from the server.
	ask := func(until func() bool) (all, bare []time.Duration) {
		for !until() {
			took := validate()
			<-time.After(time.Millisecond)
			bare = append(bare, askFloor())
			if all = append(all, took); answering.Load() > 0 {
				r.answering = max(r.answering, took)
				all, bare = all[:0], bare[:0]
			}
			<-time.After(time.Millisecond)
		}
		return all, bare
	}
	people := make([]*wire, n)
	for i := range people {
		people[i] = dialProgram(t, s.addr)
	}
	signIn := func(w *wire, name string) (int, time.Duration, error) {
		body := credentialsJSON(name, wrongPassword)
		return w.ask("POST /api/auth/login HTTP/1.1\r\nHost: door.example\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	for i := range 8 { // as much memory as hashing one by one takes
		if _, _, err := signIn(people[i], "warm-up-"+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	enough := time.Now().Add(3 * time.Second)
	idle, bare := ask(func() bool { return time.Now().After(enough) })
	r.idle, r.idleMedian, r.floorIdle = percentile(idle, 99), percentile(idle, 50), percentile(bare, 99)
	r.base = memory(t, s, "VmRSS")

	var mu sync.Mutex
	var all sync.WaitGroup
	var left atomic.Int64
	var refusals []time.Duration
	r.statuses = map[int]int{}
	begin := make(chan struct{})
	left.Store(int64(n))
	answering.Store(int64(n - 300)) // at least so many find no place
	for i, w := range people {
		all.Go(func() {
			<-begin
			status, took, err := signIn(w, fmt.Sprintf("random-%d-%d", i, n))
			left.Add(-1)
			if err != nil {
				t.Errorf("a sign-in: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.statuses[status]++
			if status == http.StatusTooManyRequests {
				answering.Add(-1)
				refusals = append(refusals, took)
			}
		})
	}
	began := time.Now()
	close(begin)
	during, bare := ask(func() bool { return left.Load() == 0 })
	all.Wait()
	r.peak = memory(t, s, "VmHWM")
	r.lasted = time.Since(began)
	r.during, r.median, r.asked, r.floorDuring = percentile(during, 99), percentile(during, 50), len(during), percentile(bare, 99)
	r.refusal = percentile(refusals, 99)
	return r
}

func (r rushed) String() string {
	return fmt.Sprintf("%v in %v; memory %d MiB, at most %d MiB; a good token waits %v (p50) and %v (p99), %v and %v when idle: %.1fx and %.1fx, asked %d times, and at most %v while the refusals were written; a refusal takes %v (p99); a server that does nothing but answer is waited for %v and %v when idle (p99): %.1fx, of which %.1fx is ours",
		r.statuses, r.lasted.Round(time.Millisecond), r.base>>10, r.peak>>10, r.median, r.during, r.idleMedian, r.idle,
		float64(r.median)/float64(r.idleMedian), float64(r.during)/float64(r.idle), r.asked, r.answering, r.refusal,
		r.floorDuring, r.floorIdle, float64(r.floorDuring)/float64(r.floorIdle), float64(r.during)/float64(r.floorDuring))
}

// floorMain is a program of its own that answers requests and does nothing else: what it is waited
// for longer during a rush is what the machine and its load take, this test's own included.
func floorMain() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until whoever has started it goes
		os.Exit(0)
	}()
	answer := []byte(`{"valid":true,"claims":{},"subject":"app","expires_at":0}`)
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
}

func floorHere(t testing.TB) (addr string) {
	t.Helper()
	cmd := exec.Command("floor")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// tokenAt exchanges the API token of the program.
func tokenAt(t testing.TB, s *served) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/auth/token", strings.NewReader(`{"client_id":"app"}`))
	if err != nil {
		t.Fatal(err)
	}
	bearer(machineToken)(r)
	res, err := oneShot.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var grant struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&grant); err != nil || grant.Token == "" {
		t.Fatalf("no token: %d, %v", res.StatusCode, err)
	}
	return grant.Token
}

// memory reads a field of the program's status, in KiB.
func memory(t testing.TB, s *served, field string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// rushHere starts the program and rushes at it.
func rushHere(t testing.TB, n int) rushed {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	s := serveProgram(t, "--data-dir", t.TempDir(), "--jwt-secret", machineSecret, "--api-tokens", machineToken, "--api-key", machineKey,
		"--rate-limits-enabled=false")
	return rush(t, s, n)
}

// TestRE1ARushOfSignIns: two thousand at once take the memory of as many hashes as are
// computed at once, those for whom there is no place hear so at once, and who has a good
// token hardly notices. What time anything takes is judged with room for a machine that others use as well;
// BenchmarkRush says what it is.
func TestRE1ARushOfSignIns(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("takes seconds, and is about time and memory, which the race detector takes its share of")
	}
	const queue, hash = 256, 19 << 10 // of KiB
	slots := max(1, runtime.GOMAXPROCS(0)-1)
	for try := 1; ; try++ {
		r := rushHere(t, 2000)
		t.Log(r)
		if compared := r.statuses[http.StatusUnauthorized]; compared < queue/2 || compared > 2*queue || compared+r.statuses[http.StatusTooManyRequests] != 2000 {
			t.Errorf("%v", r.statuses)
		}
		// What is hashed, as much again in garbage, and what two thousand requests under way need beside their connections.
		if most := r.base + 2*slots*hash + 64<<10; r.peak > most {
			t.Errorf("%d MiB were in use, want at most %d", r.peak>>10, most>>10)
		}
		if r.median <= 5*r.idleMedian && r.refusal <= time.Second {
			return
		}
		if try == 3 {
			t.Errorf("a good token waits %v where it was %v; a refusal takes %v", r.median, r.idleMedian, r.refusal)
			return
		}
	}
}

// BenchmarkRush reports what a rush of two thousand sign-ins does to good tokens: the ratios of
// what they wait to what they wait on an idle server, and to what a server that does nothing but
// answer is waited for in the same rush, which is what the machine and the load alone take. It wants a machine to itself.
func BenchmarkRush(b *testing.B) {
	for b.Loop() {
		r := rushHere(b, 2000)
		b.Log(r)
		b.ReportMetric(float64(r.during)/float64(r.idle), "p99/idle")
		b.ReportMetric(float64(r.median)/float64(r.idleMedian), "p50/idle")
		b.ReportMetric(float64(r.during)/float64(r.floorDuring), "p99/floor")
		b.ReportMetric(float64(r.refusal)/1e6, "ms/refusal-p99")
		b.ReportMetric(float64(r.peak-r.base)/1024, "MiB-more")
	}
}
