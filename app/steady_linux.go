package app

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentMost is how many bytes the kernel keeps of what a client has not been sent yet.
const unsentMost = 128 << 10

// takeLess lets the kernel take no more of an answer than is under way and unsentMost bytes,
// where by itself it takes megabytes, and then no more until it is rid of a third of them.
// Who reads slowly and steadily is so seen to take something every moment; a write would
// wait for minutes otherwise, and be taken for one to somebody who has stopped. A kernel
// that does not know the option serves all the same.
func takeLess(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMost)
	})
}
