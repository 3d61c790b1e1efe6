// Package store is the cellar: all that Doorward keeps, and all its SQL.
//
//	  what is asked                      what is changed
//	       |                                   |
//	       v                                   v
//	readers: a few connections        write.go: a turn at the writer, in the order
//	that can change nothing           of arrival, then one transaction
//	       |                                   |
//	       +-----------------+-----------------+
//	                         v
//	     one SQL text for every engine, beside its only use:
//	     users.go, password.go, sessions.go, refresh.go, lockouts.go, audit.go, ...
//	                         |
//	                         v
//	     what engines differ in (opening, clock, locks, errors): sqlite.go, postgres.go, schema/
//
// The text is SQL that SQLite and PostgreSQL understand alike: $1 for arguments, ON
// CONFLICT, RETURNING, whole numbers for times (milliseconds) and truths (0 and 1).
package store
