package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// postgresVersions is the table in which goose keeps the schema's version. Its usual name
// may be another program's that has the same database.
const postgresVersions = "doorward_version"

// postgresOptions are what tests set otherwise.
type postgresOptions struct {
	readers, writers int           // connections: so much is asked and changed at once
	patience         time.Duration // see engine
}

var postgresDefaults = postgresOptions{readers: 8, writers: 8, patience: 5 * time.Second}

// OpenPostgres opens the store in the PostgreSQL database at text, a URL such as
// postgres://user:password@host:5432/database?sslmode=verify-full, and brings its schema
// up to date; of several nodes that do so at once one does it and the others wait. What
// libpq's URLs can say can be said: several hosts, certificates, a search_path. Times are
// judged by the server's clock.
//
// The server must be a primary that can be written to: each connection is asked when it is
// made, so a replica is refused at start, and after a failover the next connection goes to
// the host that took over, if the URL names it. A synchronous_commit weaker than on is
// raised to on: what is acknowledged is durable. Isolation is READ COMMITTED whatever the
// server's default; every decision locks what it depends on before it reads it.
//
// Nothing waits for the server for longer than a few seconds: connecting takes at most 2
// (connect_timeout, in the URL, is another limit), a statement 5; then the caller gets an
// error. When the connection is lost after COMMIT was sent and before it was answered, the
// error says so, and the change may have been kept or not.
//
// Errors are for people and never show the password: cannot open store
// postgres://user@host/database: ...
func OpenPostgres(ctx context.Context, text string) (*Store, error) {
	return openPostgres(ctx, text, postgresDefaults)
}

func openPostgres(ctx context.Context, text string, o postgresOptions) (*Store, error) {
	config, err := parsePostgres(text)
	if err != nil {
		return nil, fmt.Errorf("cannot open store: %w", err)
	}
	s, err := connectPostgres(ctx, config, o)
	if err != nil {
		return nil, fmt.Errorf("cannot open store %s: %w", postgresName(config), postgresReason(err))
	}
	return s, nil
}

// PostgresName returns the URL text as it may be shown, without its password, or why
// OpenPostgres could not read it. It connects to nothing.
func PostgresName(text string) (string, error) {
	config, err := parsePostgres(text)
	if err != nil {
		return "", err
	}
	return postgresName(config), nil
}

// errUnreadable says nothing of what was given, since that holds a password somewhere.
var errUnreadable = errors.New("the database's URL cannot be read; it is postgres://user:password@host:5432/database, and characters like @ : / in a password are written as %40 %3A %2F")

// parsePostgres reads the URL and what libpq's environment variables and files add to it.
func parsePostgres(text string) (*pgx.ConnConfig, error) {
	_, rest, found := strings.Cut(text, "://")
	at, slash := strings.LastIndexByte(rest, '@'), strings.IndexByte(rest, '/')
	switch {
	case !found || !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://"):
		return nil, errUnreadable
	case strings.Count(rest, "@") > 1, at >= 0 && slash >= 0 && slash < at:
		// With a bare @ or / in the password it could be read in more than one way, and
		// one of these takes a piece of the password for the host's name.
		return nil, errUnreadable
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		// It begins with the whole URL, the password masked as well as it can be.
		if _, what, ok := strings.Cut(err.Error(), "`: "); ok {
			return nil, fmt.Errorf("its URL: %s", what)
		}
		return nil, errUnreadable
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 2 * time.Second
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "doorward"
	}
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		// A caller who leaves costs the connection only when the statement does not end
		// by itself; else who comes and goes could keep us busy connecting.
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn(), DeadlineDelay: 250 * time.Millisecond}
	}
	config.OnPgError = func(_ *pgconn.PgConn, said *pgconn.PgError) bool {
		// What has become a replica stays one: the next connection is to find the primary.
		return said.SeverityUnlocalized == "ERROR" && said.Code != pgReadOnlyTransaction
	}
	return config, nil
}

// postgresName is the URL as it may be shown.
func postgresName(config *pgx.ConnConfig) string {
	var hosts []string
	last := ""
	add := func(host string, port uint16) {
		name := host
		switch {
		case strings.HasPrefix(host, "/"):
			name = url.PathEscape(host) // a socket
		case port != 5432:
			name = net.JoinHostPort(host, strconv.Itoa(int(port)))
		case strings.Contains(host, ":"):
			name = "[" + host + "]"
		}
		if name != last { // once with TLS and once without
			hosts = append(hosts, name)
			last = name
		}
	}
	add(config.Host, config.Port)
	for _, f := range config.Fallbacks {
		add(f.Host, f.Port)
	}
	return "postgres://" + url.User(config.User).String() + "@" + strings.Join(hosts, ",") + "/" + url.PathEscape(config.Database)
}

func connectPostgres(ctx context.Context, config *pgx.ConnConfig, o postgresOptions) (_ *Store, err error) {
	if err := migratePostgres(ctx, config); err != nil {
		return nil, err
	}
	limits := []string{
		// The server ends a wait before we lose patience with it, so that the connection
		// survives; and what we have abandoned in the middle soon holds no locks.
		fmt.Sprintf("SET lock_timeout = %d", (o.patience * 4 / 5).Milliseconds()),
		fmt.Sprintf("SET idle_in_transaction_session_timeout = %d", (2 * o.patience).Milliseconds()),
		fmt.Sprintf("SET statement_timeout = %d", (6 * o.patience).Milliseconds()),
	}
	readers, writers := postgresPool(config, o.readers, limits), postgresPool(config, o.writers, limits)
	if err := readers.PingContext(ctx); err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	listener := listenPostgres(config)
	e := engine{
		now:      postgresNow,
		await:    listener.await,
		notify:   "SELECT pg_notify('" + changesChannel + "', '')",
		rowLock:  " FOR UPDATE",
		nameLock: "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
		patience: o.patience,
		again:    postgresAgain,
		failed:   postgresFailed,
		batch:    &postgresBatch,
	}
	return newStore(e, readers, writers, o.writers, listener.close), nil
}

// postgresBatch locks what is free and passes over what is locked, so that a session that is
// held up holds up no other. One wait is left, with locks in its hands: where a row was
// changed since the statement began, PostgreSQL follows it to its present version, and waits
// for who has locked that, SKIP LOCKED or not (heap_lock_updated_tuple). Hence the short
// lock_timeout of this transaction: a batch is part of no deadlock that outlasts it. More
// batches at once would be smaller ones, and slower in the sum.
var postgresBatch = batch{
	most:   64,
	atOnce: 3,
	read: `SELECT ` + sessionColumns + ` FROM sessions
		WHERE id = ANY($1) AND (SELECT set_config('lock_timeout', '20', true)) IS NOT NULL
		ORDER BY id FOR UPDATE SKIP LOCKED`,
	keys: `SELECT ` + keyColumns + keyTables + `WHERE k.id = ANY($1)`,
	advance: `
		UPDATE sessions SET prev = n.prev, head = n.head, child = n.child, gen = n.gen, fork = n.fork,
			minted = n.minted, access_until = n.access_until
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
			AS n (id, prev, head, child, gen, fork, minted, access_until)
		WHERE sessions.id = n.id`,
	blame: postgresBlames,
}

// postgresBlames reports whether err may be about what a statement was given. Else it is
// about the server and how it is doing, by the class of its code.
func postgresBlames(err error) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) || len(said.Code) < 2 {
		return false
	}
	if said.Code == pgLockNotAvailable {
		return true // one was locked, and a batch is not patient: alone, each waits for its own
	}
	switch said.Code[:2] {
	case "08", "25", "53", "55", "57", "58", "XX": // connection, state, resources, locks, operator, system, internal
		return false
	}
	return true
}

// postgresNow reads the server's clock as it is now, not as it was when the transaction began.
func postgresNow(ctx context.Context, a asker) (time.Time, error) {
	var ms int64
	if _, err := a.get(ctx, []any{&ms}, `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`); err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(max(1, ms)).UTC(), nil
}

// postgresPool opens n connections at most, each with settings.
func postgresPool(config *pgx.ConnConfig, n int, settings []string) *sql.DB {
	config = config.Copy()
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return checkPostgres(ctx, conn, settings)
	}
	db := sql.OpenDB(postgresConnector{stdlib.GetConnector(*config)})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db
}

// Why a connection is not lent. pgx then tries the next host of the URL.
var (
	errReplica  = errors.New("it is a read replica; give the address of the primary")
	errReadOnly = errors.New("it lets nothing be written (default_transaction_read_only is on); give the address of a primary, or a user who may write")
	errEncoding = errors.New("its encoding is not UTF8; create the database with ENCODING 'UTF8'")
	errForgets  = errors.New("its synchronous_commit stays off; what is acknowledged must be durable")
)

// checkPostgres makes a new connection as it must be, or says why it cannot be.
func checkPostgres(ctx context.Context, conn *pgconn.PgConn, settings []string) error {
	text := strings.Join(append([]string{
		"SET default_transaction_isolation = 'read committed'",
		`SELECT set_config('synchronous_commit', 'on', false)
			WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')`,
		`SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only'),
			current_setting('server_encoding'), current_setting('synchronous_commit')`,
	}, settings...), "; ")
	results, err := conn.Exec(ctx, text).ReadAll()
	if err != nil {
		return err
	}
	if len(results) < 3 || len(results[2].Rows) != 1 || len(results[2].Rows[0]) != 4 {
		return errors.New("it does not answer as PostgreSQL does")
	}
	row := results[2].Rows[0]
	switch {
	case string(row[0]) != "f":
		return errReplica
	case string(row[1]) != "off":
		return errReadOnly
	case string(row[2]) != "UTF8":
		return errEncoding
	case string(row[3]) == "off":
		return errForgets
	}
	return nil
}

// postgresConnector opens connections that are postgresConns.
type postgresConnector struct{ driver.Connector }

func (c postgresConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(errors.New("the driver is another"), conn.Close())
	}
	return &postgresConn{Conn: inner}, nil
}

// postgresConn is a connection that differs from pgx's own in two ways.
//
// It takes any string, as SQLite does: PostgreSQL's text is UTF-8 without NUL, and it
// answers anything else with an error. What clients send under such a name is not found,
// and what is noted of it has replacement characters.
//
// And it never says driver.ErrBadConn within a transaction. To database/sql that means to
// close the sql.Conn there and then, for which it waits until the transaction is over:
// for ever.
type postgresConn struct {
	*stdlib.Conn
	within bool // a transaction is under way
}

// errLost stands for driver.ErrBadConn within a transaction.
var errLost = errors.New("the connection was lost")

func (c *postgresConn) said(err error) error {
	if c.within && errors.Is(err, driver.ErrBadConn) {
		return errLost
	}
	return err
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *postgresConn) CheckNamedValue(v *driver.NamedValue) error {
	if s, ok := v.Value.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
		v.Value = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	return c.Conn.CheckNamedValue(v)
}

// BeginTx implements driver.ConnBeginTx.
func (c *postgresConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	t, err := c.Conn.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	c.within = true
	return postgresTx{t, c}, nil
}

// postgresTx tells its connection when it is over.
type postgresTx struct {
	driver.Tx
	on *postgresConn
}

// Commit implements driver.Tx.
func (t postgresTx) Commit() error {
	t.on.within = false
	return t.Tx.Commit()
}

// Rollback implements driver.Tx.
func (t postgresTx) Rollback() error {
	t.on.within = false
	return t.Tx.Rollback()
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *postgresConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	st, err := c.Conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, c.said(err)
	}
	inner, ok := st.(*stdlib.Stmt)
	if !ok {
		return nil, errors.Join(errors.New("the driver is another"), st.Close())
	}
	return postgresStmt{inner, c}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *postgresConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.ExecContext(ctx, text, args)
	return result, c.said(err)
}

// QueryContext implements driver.QueryerContext.
func (c *postgresConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, text, args)
	return rows, c.said(err)
}

// postgresStmt is a statement of a postgresConn.
type postgresStmt struct {
	*stdlib.Stmt
	on *postgresConn
}

// ExecContext implements driver.StmtExecContext.
func (s postgresStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.Stmt.ExecContext(ctx, args)
	return result, s.on.said(err)
}

// QueryContext implements driver.StmtQueryContext.
func (s postgresStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.Stmt.QueryContext(ctx, args)
	return rows, s.on.said(err)
}

// migratePostgres brings the schema up to date, one node at a time.
func migratePostgres(ctx context.Context, config *pgx.ConnConfig) (err error) {
	// A migration may rightly take long, but a server that hangs must not be waited for for ever.
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Minute, errSilent)
	defer cancel()
	db := postgresPool(config, 3, []string{"SET lock_timeout = 60000", "SET statement_timeout = 0", "SET idle_in_transaction_session_timeout = 0"})
	defer func() {
		if context.Cause(ctx) == errSilent {
			err = errSilent
		}
		err = errors.Join(err, db.Close()) // which gives up the lock
	}()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Goose has such a lock too, but takes it only after it has made its own table, and
	// tries again each second where this one waits.
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(hashtextextended('doorward schema', 0))`); err != nil {
		return err
	}
	if err := claimPostgres(ctx, conn); err != nil {
		return err
	}
	return migrate(ctx, goose.DialectPostgres, db, "schema/postgres", postgresVersions)
}

// claimPostgres makes the table of versions where there is none. Goose would make it too,
// but where that is not allowed it tries for three seconds.
func claimPostgres(ctx context.Context, conn *sql.Conn) error {
	var exists bool
	err := conn.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1)`, postgresVersions).Scan(&exists)
	if err != nil || exists {
		return err
	}
	versions, err := database.NewStore(goose.DialectPostgres, postgresVersions)
	if err != nil {
		return err
	}
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if err := versions.CreateVersionTable(ctx, t); err != nil {
		return err
	}
	if err := versions.Insert(ctx, t, database.InsertRequest{Version: 0}); err != nil {
		return err
	}
	return t.Commit()
}

// The codes that PostgreSQL gives errors by which something is decided (PostgreSQL's
// manual, appendix A).
const (
	pgSerializationFailure = "40001"
	pgDeadlock             = "40P01"
	pgLockNotAvailable     = "55P03"
	pgIdleInTransaction    = "25P03"
	pgReadOnlyTransaction  = "25006"
	pgAdminShutdown        = "57P01"
	pgCrashShutdown        = "57P02"
	pgCannotConnectNow     = "57P03"
	pgTooManyConnections   = "53300"
	pgDuplicateTable       = "42P07"
	pgInsufficientPriv     = "42501"
	pgInvalidAuth          = "28000"
	pgInvalidPassword      = "28P01"
	pgNoSuchDatabase       = "3D000"
	pgNoSuchSchema         = "3F000"
)

// postgresAgain reports whether a transaction that failed so, before its COMMIT, may do
// better on its next run: another one was preferred, or the connection was lost.
func postgresAgain(err error) bool {
	var unconnected *pgconn.ConnectError
	var said *pgconn.PgError
	switch {
	case errors.As(err, &unconnected):
		return false
	case errors.As(err, &said):
		switch said.Code {
		case pgSerializationFailure, pgDeadlock, pgAdminShutdown, pgCrashShutdown, pgIdleInTransaction, pgReadOnlyTransaction:
			return true
		}
		return false
	}
	for _, lost := range []error{
		errLost, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, pgconn.ErrConnClosed, driver.ErrBadConn,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// postgresFailed reports whether a COMMIT that was answered by err kept nothing: the
// server says so, and goes on. What it says while it ends the connection is no answer. Nor
// is pgconn.SafeToRetry: of a COMMIT whose answer was lost pgx says "conn closed", and
// that nothing was sent.
func postgresFailed(err error) bool {
	var said *pgconn.PgError
	return errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &said) && said.SeverityUnlocalized == "ERROR"
}

// postgresReason puts what the server and the network say into words that lead somewhere.
func postgresReason(err error) error {
	for _, ours := range []error{errReplica, errReadOnly, errEncoding, errForgets} {
		if errors.Is(err, ours) {
			return reason(ours.Error(), err)
		}
	}
	var said *pgconn.PgError
	var unresolved *net.DNSError
	var unconnected *pgconn.ConnectError
	switch {
	case errors.As(err, &said):
		return postgresSaid(said, err)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return reason("nothing answers there; is the server running?", err)
	case errors.As(err, &unresolved):
		return reason("there is no host "+unresolved.Name, err)
	case errors.As(err, &unconnected) && pgconn.Timeout(err):
		return reason("it did not answer in time; is the address right?", err)
	}
	return reason(strings.Join(strings.Fields(err.Error()), " "), err) // of several hosts, one a line
}

func postgresSaid(said *pgconn.PgError, err error) error {
	switch said.Code {
	case pgInvalidPassword, pgInvalidAuth:
		return reason(said.Message+"; check the user, the password and the server's pg_hba.conf", err)
	case pgNoSuchDatabase:
		return reason(said.Message+"; create it first", err)
	case pgNoSuchSchema:
		return reason(said.Message+"; create the schema that search_path names", err)
	case pgInsufficientPriv:
		return reason(said.Message+"; the user must own the database or be granted CREATE on its schema", err)
	case pgDuplicateTable:
		return reason(said.Message+", and not by this program; give it a database of its own, or a schema (?search_path=doorward)", err)
	case pgTooManyConnections:
		return reason(said.Message+"; raise the server's max_connections", err)
	case pgLockNotAvailable:
		return reason("another node has been changing its schema for a minute; try again", err)
	case pgCannotConnectNow:
		return reason(said.Message+"; try again", err)
	}
	return err
}
