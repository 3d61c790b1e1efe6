// Package gate is the door: it takes a request to an identity, to yes or no, and either
// carries it on or refuses it. It reads HTTP and knows no SQL.
//
//	request
//	   |
//	 scope        request id, canonical path, client address         gate.go path.go client.go
//	   |
//	 which door   one of ours, or the service behind                 doors.go
//	   |
//	 who          bearer | api key | cookie -> Authority -> Identity credentials.go
//	   |
//	 may they     need against identity; same origin; open mode      policy.go origin.go openmode.go
//	   |
//	 refuse       the only place that writes an error                refuse.go
//	   |
//	 carry        the door's handler, the service behind, or a proxy that asked   forward.go
package gate
