// Package proxy is the corridor: it carries an admitted request to the service behind and
// the service's answer back. What the door decided comes as a Passage, an argument, and
// is said to the service in headers that nobody else can write.
//
//	Passage, request
//	   |
//	 clean      headers that claim what only the door may say       clean.go
//	   |
//	 strip      credentials of ours                                 cookies.go dress.go
//	   |
//	 dress      every identity header, empty when nothing is to say dress.go
//	   |
//	 aim        the canonical path, the query as sent               target.go
//	   |
//	 carry      streaming, by HTTP/1.1 or HTTP/2 in clear           carry.go transport.go
//	   |
//	 answer     as the service gave it, or 502, 504, a cut          answer.go fault.go
//	            to a client that takes it, in time                  stall.go
//	   |
//	 end        before its time, when the door says so              ends.go socket.go
//
// A handler in this process takes the same way as far as dress, by the function Dress, and
// ends by the same word, by the function Serve.
package proxy
