package app

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits is what a client may take of our memory and time, before and after it is judged.
type Limits struct {
	HeaderBytes   int           // of a request's head
	Headers       int           // lines of a request's head
	HeaderTimeout time.Duration // for a head to arrive
	IdleTimeout   time.Duration // between two requests of a connection
	BodyTimeout   time.Duration // for a body that is ours to read, and for an answer of ours
	BodyBytes     int64         // of a body that goes to the service; 0 for no limit
	StallTimeout  time.Duration // for a stream on which nothing moves; 0 for no limit
	Connections   int           // of one address; 0 for no limit
	Streams       int           // of one HTTP/2 connection
}

func (l *Limits) rows() []setting {
	return []setting{
		{key: "limits.header_bytes", fallback: "32KiB", metavar: "SIZE",
			help: "largest head of a request",
			set:  text(&l.HeaderBytes, headerSize)},
		{key: "limits.headers", fallback: "200", metavar: "N",
			help: "most header lines of a request",
			set:  text(&l.Headers, integer(20, 10_000))},
		{key: "limits.header_timeout", fallback: "10s", metavar: "DURATION",
			help: "longest that the head of a request may take to arrive",
			set:  text(&l.HeaderTimeout, positive)},
		{key: "limits.idle_timeout", fallback: "2m", metavar: "DURATION",
			help: "how long a connection is kept that asks for nothing",
			set:  text(&l.IdleTimeout, positive)},
		{key: "limits.body_timeout", fallback: "20s", metavar: "DURATION",
			help: "longest that a body for one of our own doors may take to arrive; our answer may take twice as long to be taken",
			set:  text(&l.BodyTimeout, positive)},
		{key: "limits.body_bytes", unset: "no limit", metavar: "SIZE",
			help: "largest body that goes to the service",
			set:  text(&l.BodyBytes, sizeOf)},
		{key: "limits.stall_timeout", fallback: "1m", metavar: "DURATION",
			help: "longest that a body under way to or from the service may stand still; 0 for ever",
			set:  text(&l.StallTimeout, duration)},
		{key: "limits.connections", fallback: "4096", metavar: "N",
			help: "most connections of one address, an IPv6 /64 being one; 0 for any, as always for loopback and trusted_proxies",
			set:  text(&l.Connections, integer(0, 1_000_000))},
		{key: "limits.streams", fallback: "100", metavar: "N",
			help: "most requests at once on one HTTP/2 connection",
			set:  text(&l.Streams, integer(1, 10_000))},
	}
}

// sizeOf reads a number of bytes: plain, or in KiB, MiB or GiB.
func sizeOf(s string) (int64, error) {
	number, unit := s, int64(1)
	for name, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if cut, ok := strings.CutSuffix(s, name); ok {
			number, unit = strings.TrimSuffix(cut, " "), bytes
		}
	}
	if !digits(number) {
		return 0, fmt.Errorf("%s is not a size; write bytes as 65536, or with a unit as 64KiB, 10MiB or 1GiB", shown(s))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is too large", shown(s))
	}
	return n * unit, nil
}

// headerSize is sizeOf within what browsers with some cookies need and what memory can bear
// of everybody at once.
func headerSize(s string) (int, error) {
	n, err := sizeOf(s)
	if err != nil {
		return 0, err
	}
	if n < 4<<10 || n > 1<<20 {
		return 0, errors.New(shown(s) + " is not a size from 4KiB to 1MiB")
	}
	return int(n), nil
}

// newServer is a server for h that speaks HTTP/1.1 and, to who begins with it ("prior
// knowledge", RFC 9113, section 3.3), HTTP/2. An Upgrade to h2c is never taken.
func newServer(h http.Handler, l Limits, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h,
		// "OPTIONS *" is for the door to answer, not for net/http past it.
		DisableGeneralOptionsHandler: true,

		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:      l.Streams,
			MaxDecoderHeaderTableSize: 4 << 10,
			MaxEncoderHeaderTableSize: 4 << 10,
			MaxReadFrameSize:          16 << 10,
			// What streams may have sent before their handlers read it: one that is not read
			// leaves room for others.
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			// HTTP/2 knows no time for a head: who stops in the middle of one does not answer a ping either.
			SendPingTimeout:  l.HeaderTimeout,
			PingTimeout:      l.HeaderTimeout,
			WriteByteTimeout: 30 * time.Second,
		},
		ReadHeaderTimeout: l.HeaderTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    l.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// No write time-out: streams last as long as they last.
	}
}
