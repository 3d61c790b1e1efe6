// Package pgtest runs throwaway PostgreSQL servers for tests: real ones, made by initdb
// in a temporary directory, that can be killed, frozen, made a read replica or reached
// through a proxy that cuts connections where it is told to.
//
//	var postgres = pgtest.Shared{Config: pgtest.Config{Fast: true}}
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		postgres.Stop()
//		os.Exit(code)
//	}
//
//	func TestSomething(t *testing.T) {
//		url := postgres.Database(t) // one database a test, one server for all
//
// A test that kills its server starts one of its own: pgtest.Start(t, pgtest.Config{}).
// Where no server is installed tests are skipped, with a line that says what to install;
// with DOORWARD_TEST_ALL set they fail. It needs a Unix; freezing and killing need Linux.
package pgtest
