package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is a number of kept connections on each of which the next request is sent when the
// last has been answered: a closed loop. The request is made beforehand and of an answer
// no more is read than where it ends, so that the generator takes little of a machine that
// it shares with what it measures.
type load struct {
	callers []*caller
}

// newLoad opens n connections to addr, all of which will send request, byte for byte.
func newLoad(addr string, n int, request []byte) (*load, error) {
	l := new(load)
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.callers = append(l.callers, &caller{conn: conn, request: request})
	}
	return l, nil
}

func (l *load) close() error {
	var errs []error
	for _, c := range l.callers {
		errs = append(errs, c.conn.Close())
	}
	return errors.Join(errs...)
}

// result is what came of one or several runs.
type result struct {
	took      time.Duration
	latencies []time.Duration // of each request, in no order until percentile has been asked
	sorted    bool
}

// run sends requests on all connections for at least d. An answer other than 200 ends it
// with an error. One caller at a time.
func (l *load) run(d time.Duration) (result, error) {
	begin := make(chan struct{})
	var all sync.WaitGroup
	var began time.Time
	for _, c := range l.callers {
		all.Go(func() {
			<-begin
			c.run(began.Add(d))
		})
	}
	began = time.Now()
	close(begin)
	all.Wait()
	r := result{took: time.Since(began)}
	for _, c := range l.callers {
		if c.err != nil {
			return result{}, c.err
		}
		r.latencies = append(r.latencies, c.latencies...)
	}
	return r, nil
}

// add makes r the result of its own runs and those of other.
func (r *result) add(other result) {
	r.took += other.took
	r.latencies = append(r.latencies, other.latencies...)
	r.sorted = false
}

// rate is in requests a second.
func (r *result) rate() float64 { return float64(len(r.latencies)) / r.took.Seconds() }

// percentile is the latency that p of 100 requests do not exceed; 0 if there were none.
func (r *result) percentile(p float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	if !r.sorted {
		slices.Sort(r.latencies)
		r.sorted = true
	}
	return r.latencies[min(int(float64(len(r.latencies))*p/100), len(r.latencies)-1)]
}

// caller is one connection.
type caller struct {
	conn      net.Conn
	request   []byte
	answer    [16 << 10]byte
	latencies []time.Duration
	err       error
}

func (c *caller) run(until time.Time) {
	c.latencies = c.latencies[:0]
	if c.err = c.conn.SetDeadline(until.Add(maxWait)); c.err != nil {
		return
	}
	for now := time.Now(); now.Before(until); {
		if c.err = c.ask(); c.err != nil {
			return
		}
		then := time.Now()
		c.latencies = append(c.latencies, then.Sub(now))
		now = then
	}
}

// maxWait is how long an answer may take.
const maxWait = 30 * time.Second

// ask sends the request and reads the whole answer.
func (c *caller) ask() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	end := 0 // of the answer, once its head is there
	for got := 0; end == 0 || got < end; {
		if got == len(c.answer) {
			return fmt.Errorf("an answer is longer than %d bytes", len(c.answer))
		}
		n, err := c.conn.Read(c.answer[got:])
		if err != nil {
			return fmt.Errorf("%w, after %q", err, c.answer[:got])
		}
		got += n
		if end > 0 {
			continue
		}
		if end, err = answerEnd(c.answer[:got]); err != nil {
			return err
		}
	}
	return nil
}

var (
	status200     = []byte("HTTP/1.1 200 ")
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// answerEnd returns the length of the answer that begins b, 0 if its head is not whole. It
// knows as much of HTTP as Go's servers write: the length as a number, its name so spelt.
func answerEnd(b []byte) (int, error) {
	head := bytes.Index(b, headEnd)
	if head < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(b, status200) {
		return 0, fmt.Errorf("an answer is not 200: %.300q", b)
	}
	at := bytes.Index(b[:head], contentLength)
	if at < 0 {
		return 0, fmt.Errorf("an answer does not say how long it is: %.300q", b)
	}
	digits, _, _ := bytes.Cut(b[at+len(contentLength):head], headEnd[:2])
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0, fmt.Errorf("an answer does not say how long it is: %.300q", b)
	}
	return head + len(headEnd) + n, nil
}
