// Command service is what stands behind the proxies that are compared: it answers every
// request without a body alike, and does next to nothing for it. It ends when its input does.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
)

const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nok\n"

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "msg=listening addr=%s\n", l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serve takes an empty line at the end of what was read for the end of a request.
func serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 16<<10)
	for got := 0; got < len(buf); {
		n, err := conn.Read(buf[got:])
		if err != nil {
			return
		}
		if got += n; bytes.HasSuffix(buf[:got], []byte("\r\n\r\n")) {
			got = 0
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	}
}
