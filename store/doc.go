// Package store is the cellar: all that Doorward keeps, and all its SQL.
//
//	  what is asked                      what is changed
//	       |                                   |
//	       v                                   v
//	readers: a few connections        write.go: in the order of arrival; who comes
//	that can change nothing           together shares a transaction (group.go,
//	       |                          batch.go), the feed of changes last (feed.go)
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
