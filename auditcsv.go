package doorward

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// TimeText is when the entry was written, as programs read it: RFC 3339, UTC, to the millisecond.
func (r AuditRecord) TimeText() string { return r.Time.UTC().Format("2006-01-02T15:04:05.000Z") }

// AuditCSV reads what AuditLog does, all of it from q.Before on; q.Limit is not read. The first page is read
// before it returns, so that what is refused is refused before anything is written. write then reads
// the rest a page at a time, which takes the same memory however many there are.
func (a *Authority) AuditCSV(ctx context.Context, by Caller, q AuditQuery) (write func(io.Writer) error, err error) {
	const step = 500
	if q, err = a.knownTo(ctx, by, q); err != nil {
		return nil, err
	}
	q.Limit = step
	page, next, err := a.auditPage(ctx, q)
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		return WriteAuditCSV(ctx, w, func(ctx context.Context, before AuditMark) ([]AuditRecord, error) {
			if page != nil { // the one that is read already
				first := page
				page = nil
				return first, nil
			}
			if next.Time.IsZero() {
				return nil, nil
			}
			q.Before = before
			var more []AuditRecord
			var err error
			more, next, err = a.auditPage(ctx, q)
			return more, err
		})
	}, nil
}

// WriteAuditCSV writes the pages that read returns, given the last entry of the one before,
// as CSV (RFC 4180) with a header, until a page is empty.
func WriteAuditCSV(ctx context.Context, w io.Writer, read func(ctx context.Context, before AuditMark) ([]AuditRecord, error)) error {
	buffered := bufio.NewWriterSize(w, 32<<10)
	c := csv.NewWriter(buffered)
	c.UseCRLF = true
	err := c.Write([]string{"id", "time", "action", "outcome", "actor_kind", "actor", "actor_name", "target", "org_id", "address", "request_id", "detail"})
	if err != nil {
		return err
	}
	var before AuditMark
	for {
		page, err := read(ctx, before)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			row := []string{
				strconv.FormatInt(r.ID, 10), r.TimeText(), r.Action, string(r.Outcome), string(r.ActorKind), r.Actor, r.ActorName,
				r.Target, r.Org, r.Address, r.RequestID, r.Detail,
			}
			for i := range row {
				row[i] = noFormula(row[i])
			}
			if err := c.Write(row); err != nil {
				return err
			}
		}
		c.Flush()
		if err := c.Error(); err != nil {
			return err
		}
		before = page[len(page)-1].AuditMark
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return err
	}
	return buffered.Flush()
}

// noFormula keeps spreadsheets from computing what somebody has named themselves (OWASP, CSV
// injection).
func noFormula(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}
