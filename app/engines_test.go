package app

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"doorward/pgtest"
	"doorward/store"
)

// postgres is the server for all tests but those that do it harm.
var postgres = pgtest.Shared{Config: pgtest.Config{Fast: true}, Prepare: prepareClock}

// onClock is what a URL needs behind it for a database whose clock a test may set.
const onClock = "&search_path=doorward,pg_catalog"

// prepareClock makes the schema that tests on PostgreSQL have in common, once for all of them. The
// server judges by its own clock, which nobody can set; a schema before its own has another.
func prepareClock(url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	_, err = db.Exec(`
		CREATE SCHEMA doorward;
		CREATE TABLE doorward.test_clock (still bigint, ahead bigint);
		INSERT INTO doorward.test_clock VALUES (NULL, 0);
		CREATE FUNCTION doorward.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
			$$SELECT coalesce(to_timestamp(still / 1000.0), pg_catalog.clock_timestamp()) + ahead * interval '1 millisecond' FROM doorward.test_clock$$`)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	kept, err := store.OpenPostgres(context.Background(), url+onClock)
	if err != nil {
		return err
	}
	return kept.Close()
}

// engine is what a door keeps its state in.
type engine struct {
	name     string
	settings func(t *testing.T) []string // for a store of the test's own
}

var (
	onSQLite = engine{"SQLite", func(*testing.T) []string { return nil }}

	onPostgres = engine{"PostgreSQL", func(t *testing.T) []string {
		return []string{"database=" + postgres.Database(t) + onClock, "jwt.secret=" + machineSecret}
	}}
)

// onBoth runs a test on each engine.
func onBoth(t *testing.T, test func(t *testing.T, e engine)) {
	t.Parallel()
	for _, e := range []engine{onSQLite, onPostgres} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// door is newDoor on this engine.
func (e engine) door(t *testing.T, settings ...string) *door {
	t.Helper()
	return newDoor(t, append(e.settings(t), settings...)...)
}

// machineDoor is machineDoor on this engine.
func (e engine) machineDoor(t *testing.T, settings ...string) *door {
	t.Helper()
	return machineDoor(t, append(e.settings(t), settings...)...)
}

// sqlOpen opens the door's database beside the server.
func (d *door) sqlOpen() *sql.DB {
	d.t.Helper()
	driver, source := "sqlite", "file:"+d.dir+"/doorward.db?_pragma=busy_timeout(10000)"
	if url := d.flags["database"]; url != "" {
		driver, source = "pgx", url
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		d.t.Fatal(err)
	}
	return db
}

// clockSet lets the server know that the clock was set: its database first, then what it
// knows of other nodes' changes, which is else for a moment too old by the new clock.
func (d *door) clockSet() {
	if d.flags["database"] != "" {
		d.clock.mu.Lock()
		still, ahead := any(nil), d.clock.offset
		if !d.clock.still.IsZero() {
			still = d.clock.still.UnixMilli()
		}
		d.clock.mu.Unlock()
		d.sqlExec(`UPDATE test_clock SET still = ?, ahead = ?`, still, ahead.Milliseconds())
	}
	if d.http != nil {
		_ = d.house.authority.CatchUp(context.Background())
	}
}

var questionMark = regexp.MustCompile(`\?`)

// sqlText writes placeholders as both engines take them.
func sqlText(text string) string {
	n := 0
	return questionMark.ReplaceAllStringFunc(text, func(string) string {
		n++
		return "$" + strconv.Itoa(n)
	})
}

func TestClocksOfTheEnginesCanBeSet(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "jwt.expiry=1h", "jwt.refresh_expiry=2h", "session.max_age=3h")
		_, refresh := d.exchange(machineToken, "app")
		d.clock.advance(90 * time.Minute)
		_, refresh = d.rotated(refresh)
		d.clock.advance(90*time.Minute + time.Second)
		d.refresh(refresh).refused(401, "token expired")
		if strings.Contains(d.log.String(), "ALARM") {
			t.Error("an alarm")
		}
	})
}
