package app

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// grpcMessage is a message as gRPC frames it: a byte, a length, the bytes.
func grpcMessage(text string) []byte {
	b := append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(text)))...)
	return append(b, text...)
}

func readGRPCMessage(r io.Reader) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	text := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, text)
	return string(text), err
}

// TestGRPCGoesThroughTheWholeDoor: from a client that speaks HTTP/2 to a service that does, each
// message arriving before the next is sent, with the trailers that gRPC ends with; and a refusal is one.
func TestGRPCGoesThroughTheWholeDoor(t *testing.T) {
	t.Parallel()
	clearAndTLS(t, func(t *testing.T, settings []string, trust func(*door) *door) {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("X-Auth-Role") != "admin" || r.Header.Get("Authorization") != "" {
				t.Errorf("the service gets %s %v", r.Proto, r.Header)
			}
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status, X-Request-Id")
			_ = http.NewResponseController(w).Flush()
			for {
				text, err := readGRPCMessage(r.Body)
				if err != nil {
					break
				}
				_, _ = w.Write(grpcMessage("you said " + text))
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set("Grpc-Status", "0")
			w.Header().Set("X-Request-Id", "the-service's-own")
		}))
		service.Config.Protocols = protocols
		service.Start()
		t.Cleanup(service.Close)
		address := service.Listener.Addr().String()
		d := trust(newDoor(t, append(settings, settingsFile(t, "upstreams: [{name: rpc, url: 'h2c://"+address+"', path: /pkg.Talk/**}]\n"), "api_key="+machineKey)...))

		client := d.newHTTP2(t)
		call := func(key string) (*http.Response, io.WriteCloser) {
			t.Helper()
			body, says := io.Pipe()
			r, err := http.NewRequestWithContext(t.Context(), "POST", d.URL+"/pkg.Talk/Talk", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Authorization": {"Bearer " + key}, "X-Auth-Role": {"superadmin"}}
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { res.Body.Close() })
			return res, says
		}
		res, says := call(machineKey)
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			t.Fatalf("%s %s", res.Proto, res.Status)
		}
		for _, text := range []string{"one", "two", string(bytes.Repeat([]byte("x"), 100_000))} {
			if _, err := says.Write(grpcMessage(text)); err != nil {
				t.Fatal(err)
			}
			if got, err := readGRPCMessage(res.Body); err != nil || got != "you said "+text {
				t.Fatalf("%.40q, %v", got, err)
			}
		}
		if err := says.Close(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
			t.Errorf("%q, %v", rest, err)
		}
		if res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("X-Request-Id") != "" || !requestID.MatchString(res.Header.Get("X-Request-Id")) {
			t.Errorf("trailer %v, header %v", res.Trailer, res.Header)
		}
		if res, says := call("nonsense"); res.StatusCode != http.StatusUnauthorized || says.Close() != nil {
			t.Errorf("%s", res.Status)
		}
	})
}
