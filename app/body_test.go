package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestIN1ABodyThatNeverEndsHoldsNothingUp: whoever is refused, or sends too much, is
// answered soon, though the body's end never comes; and what comes after is not taken
// for another request.
func TestIN1ABodyThatNeverEndsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	chunk := "10000\r\n" + strings.Repeat(" ", 1<<16) + "\r\n"
	for name, c := range map[string]struct {
		path, head, body string
		status           int
	}{
		"too much, in chunks":           {"/auth/refresh", "Transfer-Encoding: chunked", chunk + chunk, http.StatusRequestEntityTooLarge},
		"too much, by its length":       {"/auth/refresh", "Content-Length: 1000000", strings.Repeat(" ", 1<<17), http.StatusRequestEntityTooLarge},
		"nobody at our door":            {"/auth/token", "Transfer-Encoding: chunked", "5\r\n{\"a\":\r\n", http.StatusUnauthorized},
		"nobody at the service's":       {"/run", "Content-Length: 10", "{", http.StatusUnauthorized},
		"unknown":                       {"/auth/nothing", "Content-Length: 10", "{", http.StatusNotFound},
		"a type that is not read":       {"/api/auth/login", "Content-Length: 10", "{", http.StatusUnsupportedMediaType},
		"an encoding that is not read":  {"/auth/refresh", "Content-Encoding: gzip\r\nTransfer-Encoding: chunked", "", http.StatusUnsupportedMediaType},
		"a sign-out, which has no body": {"/auth/logout", "Transfer-Encoding: chunked", "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
			go func() { // a part of it may meet a closed connection
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s", c.path, c.head, c.body)
			}()
			all, err := io.ReadAll(conn) // until the server closes
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Errorf("the connection stays open")
			}
			if !strings.HasPrefix(string(all), fmt.Sprintf("HTTP/1.1 %d ", c.status)) || strings.Count(string(all), "HTTP/1.1 ") != 1 {
				t.Errorf("%.300q, want one answer, %d", all, c.status)
			}
		})
	}
}

// TestIN1EveryDoorRefusesWhatNoneReads: by its word alone, also where a door would not read it.
func TestIN1EveryDoorRefusesWhatNoneReads(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	d.setUp()
	for _, each := range d.house.settings.doorConfig().Doors() {
		path := strings.NewReplacer("{id}", "x", "{org}", "default", "{user}", "x", "{session}", "x").Replace(each.Pattern)
		for head, status := range map[string]string{
			"Content-Length: 65537\r\n\r\n":                                                "413", // which nobody waits for
			"Content-Length: 10\r\nContent-Encoding: gzip\r\n\r\n0123456789":               "415",
			"Transfer-Encoding: chunked\r\nContent-Encoding: br, deflate\r\n\r\n0\r\n\r\n": "415",
		} {
			conn := d.dialDoor(t)
			if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", each.Method, path, machineKeyLine, head); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("HTTP/1.1 413"))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HTTP/1.1 "+status {
				t.Errorf("%s %s, %s: %s, %v, want %s", each.Method, path, head, got, err, status)
			}
			conn.Close()
		}
	}
}
