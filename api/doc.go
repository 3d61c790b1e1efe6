// Package api is both JSON contracts: the machine's under /auth/ and the person's under
// /api/auth/. One action is one file; doors.go lists them all with what each needs. A
// handler reads the body, calls one verb of doorward.Authority and writes the answer;
// what it returns as an error the gate writes.
package api
