// Package web is the pages for people: what a browser is led to when somebody must sign in,
// and where a password is chosen. Pages are made on the server and need no script. One
// action is one file; doors.go lists the doors, page.go dresses every page the same, and
// refuse.go says a refusal in words for a person. A handler reads the form, calls one verb of
// doorward.Authority and sends the browser on.
package web
