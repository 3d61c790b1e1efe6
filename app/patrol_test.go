package app

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// patrolledPair is a patrolled connection and its other end.
func patrolledPair(t testing.TB, p *patrol) (*patrolledConn, net.Conn) {
	t.Helper()
	there, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	here, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	return here.(*patrolledConn), there
}

func listenPatrolled(t testing.TB) *patrol {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return patrolled(l)
}

func readByte(c net.Conn) error {
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// TestDeadlinesOfAPatrolledConnection: what net.Conn says of deadlines, but for how late one may be.
func TestDeadlinesOfAPatrolledConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(here *patrolledConn, there net.Conn) error
		want error
	}{
		{"a read that waits too long", func(here *patrolledConn, _ net.Conn) error {
			_ = here.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			return readByte(here)
		}, os.ErrDeadlineExceeded},
		{"a write that waits too long", func(here *patrolledConn, _ net.Conn) error {
			_ = here.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			_, err := here.Write(make([]byte, 64<<20))
			return err
		}, os.ErrDeadlineExceeded},
		{"both", func(here *patrolledConn, _ net.Conn) error {
			_ = here.SetDeadline(time.Now().Add(50 * time.Millisecond))
			_, err := here.Write(make([]byte, 64<<20))
			return errors.Join(err, readByte(here))
		}, os.ErrDeadlineExceeded},
		{"a deadline long past, at once, in front of what has come", func(here *patrolledConn, there net.Conn) error {
			_, _ = there.Write([]byte("x"))
			_ = here.SetReadDeadline(time.Unix(1, 0))
			return readByte(here)
		}, os.ErrDeadlineExceeded},
		{"one long past ends a read that waits", func(here *patrolledConn, _ net.Conn) error {
			waits := make(chan error, 1)
			go func() { waits <- readByte(here) }()
			_ = here.SetReadDeadline(time.Unix(1, 0))
			return <-waits
		}, os.ErrDeadlineExceeded},
		{"one taken back", func(here *patrolledConn, there net.Conn) error {
			_ = here.SetReadDeadline(time.Unix(1, 0))
			_ = here.SetReadDeadline(time.Time{})
			_, _ = there.Write([]byte("x"))
			return readByte(here)
		}, nil},
		{"one that has passed, moved on", func(here *patrolledConn, there net.Conn) error {
			_ = here.SetReadDeadline(time.Now())
			if err := readByte(here); !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			_ = here.SetReadDeadline(time.Now().Add(time.Hour))
			_, _ = there.Write([]byte("x"))
			return readByte(here)
		}, nil},
		{"one moved on again and again", func(here *patrolledConn, there net.Conn) error {
			waits := make(chan error, 1)
			go func() { waits <- readByte(here) }()
			for range 40 {
				_ = here.SetReadDeadline(time.Now().Add(2 * patrolEvery))
				select {
				case err := <-waits:
					return err
				case <-time.After(patrolEvery / 8):
				}
			}
			_, _ = there.Write([]byte("x"))
			return <-waits
		}, nil},
		{"a read's is not a write's", func(here *patrolledConn, _ net.Conn) error {
			_ = here.SetReadDeadline(time.Unix(1, 0))
			_, err := here.Write([]byte("x"))
			return err
		}, nil},
		{"of one that is closed", func(here *patrolledConn, _ net.Conn) error {
			_ = here.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			_ = here.Close()
			_ = here.Close()
			return readByte(here)
		}, net.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, there := patrolledPair(t, listenPatrolled(t))
			if err := c.do(here, there); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestNobodyGoesRoundForNobody: with the last connection the rounds end, and the next begins them.
func TestNobodyGoesRoundForNobody(t *testing.T) {
	t.Parallel()
	p := listenPatrolled(t)
	for range 3 {
		here, there := patrolledPair(t, p)
		_ = here.SetReadDeadline(time.Now().Add(time.Millisecond))
		if err := readByte(here); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nobody goes round: %v", err)
		}
		_, _ = here.Close(), there.Close()
		until(t, 30*time.Second, "the rounds end", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.rests && p.n == 0
		})
	}
}

// TestManyPatrolledConnections: they come and go and move their deadlines, 64 at once, and
// each ends by its own deadline alone.
func TestManyPatrolledConnections(t *testing.T) {
	t.Parallel()
	p := listenPatrolled(t)
	var all sync.WaitGroup
	for range 64 {
		here, there := patrolledPair(t, p)
		all.Go(func() {
			for range 200 {
				_ = here.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = there.Write([]byte("x"))
				if err := readByte(here); err != nil {
					t.Error(err)
					return
				}
				_ = here.SetReadDeadline(time.Unix(1, 0))
				_ = here.SetReadDeadline(time.Time{})
			}
			_ = here.SetReadDeadline(time.Now().Add(time.Millisecond))
			if err := readByte(here); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			_ = here.Close()
		})
	}
	all.Wait()
	for i := range p.beats {
		if p.beats[i].conns.Len() > 0 {
			t.Error("a connection that is closed is still looked after")
		}
	}
}

// BenchmarkDeadlines: the moves that net/http and we make for a request, of a plain
// connection's deadlines and of a patrolled one's. ratio says how much more the first takes.
func BenchmarkDeadlines(b *testing.B) {
	here, _ := patrolledPair(b, listenPatrolled(b))
	request := func(c net.Conn) {
		now := time.Now()
		_ = c.SetReadDeadline(now.Add(10 * time.Second))
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(now.Add(time.Minute))
		_ = c.SetReadDeadline(time.Unix(1, 0)) // what reads ahead is to stop
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetReadDeadline(now.Add(2 * time.Minute))
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Time{})
	}
	var plain, ours time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for range 100 {
			request(here.Conn)
		}
		plain += time.Since(start)
		start = time.Now()
		for range 100 {
			request(here)
		}
		ours += time.Since(start)
	}
	b.ReportMetric(0, "ns/op") // of both: means nothing
	b.ReportMetric(float64(plain)/float64(b.N)/100, "ns/plain")
	b.ReportMetric(float64(ours)/float64(b.N)/100, "ns/patrolled")
	b.ReportMetric(float64(plain)/float64(ours), "ratio")
}
