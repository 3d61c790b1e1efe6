package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"doorward"
	"doorward/gate"
)

// auditBody is an audit entry as programs see it, here and on the command line.
type auditBody struct {
	ID        int64  `json:"id" is:"Count"`
	Time      string `json:"time" is:"Time"` // RFC 3339, to the millisecond
	Action    string `json:"action" is:"Action"`
	Outcome   string `json:"outcome" is:"Outcome"`
	ActorKind string `json:"actor_kind" is:"ActorKind"`
	Actor     string `json:"actor"`
	ActorName string `json:"actor_name" is:"PersonsName"`
	Target    string `json:"target"`
	Org       string `json:"org_id" is:"NoneOrSlug"`
	Address   string `json:"address"`
	RequestID string `json:"request_id" is:"RequestID"`
	Detail    string `json:"detail"`
}

// AuditBody is r as it is marshalled.
func AuditBody(r doorward.AuditRecord) any { return auditOf(r) }

func auditOf(r doorward.AuditRecord) auditBody {
	return auditBody{
		r.ID, r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), r.Action, string(r.Outcome), string(r.ActorKind), r.Actor, r.ActorName,
		r.Target, r.Org, r.Address, r.RequestID, r.Detail,
	}
}

type auditPage struct {
	Audit []auditBody `json:"audit"`
	Next  string      `json:"next" is:"Mark"`
}

// audit lists the audit log a page at a time, or all of it as CSV.
func (a *api) audit(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := doorward.ParseAuditQuery(r.URL.Query(), pageSize)
	if err != nil {
		return err
	}
	asCSV, err := wantsCSV(r)
	if err != nil {
		return err
	}
	if asCSV {
		return a.auditCSV(w, r, p.Caller(r), q)
	}
	page, next, err := a.Authority.AuditLog(r.Context(), p.Caller(r), q)
	if err != nil {
		return err
	}
	writeAuditPage(w, page, next)
	return nil
}

// wantsCSV reads the wish for a form: in the query, where a link can say it, else Accept.
func wantsCSV(r *http.Request) (bool, error) {
	switch f := r.URL.Query().Get("format"); f {
	case "csv":
		return true, nil
	case "json":
		return false, nil
	case "":
	default:
		return false, doorward.Invalid("format", "must be json or csv")
	}
	for _, line := range r.Header["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			if kind, _, err := mime.ParseMediaType(part); err == nil && kind == "text/csv" {
				return true, nil
			}
		}
	}
	return false, nil
}

// auditCSV writes all entries from q.Before on, reading a page at a time, so that it takes
// the same memory however many there are. What breaks off half-way breaks the connection off:
// half a file must not look like a whole one.
func (a *api) auditCSV(w http.ResponseWriter, r *http.Request, by doorward.Caller, q doorward.AuditQuery) error {
	const step = 500
	q.Limit = step
	page, next, err := a.Authority.AuditLog(r.Context(), by, q)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="audit.csv"`)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	err = WriteAuditCSV(r.Context(), w, func(ctx context.Context, before doorward.AuditMark) ([]doorward.AuditRecord, error) {
		if page != nil { // the one that is read already
			first := page
			page = nil
			return first, nil
		}
		if next.Time.IsZero() {
			return nil, nil
		}
		q.Before = before
		var more []doorward.AuditRecord
		more, next, err = a.Authority.AuditLog(ctx, by, q)
		return more, err
	})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// WriteAuditCSV writes the pages that read returns, given the last entry of the one before,
// as CSV (RFC 4180) with a header, until a page is empty.
func WriteAuditCSV(ctx context.Context, w io.Writer, read func(ctx context.Context, before doorward.AuditMark) ([]doorward.AuditRecord, error)) error {
	buffered := bufio.NewWriterSize(w, 32<<10)
	c := csv.NewWriter(buffered)
	c.UseCRLF = true
	err := c.Write([]string{"id", "time", "action", "outcome", "actor_kind", "actor", "actor_name", "target", "org_id", "address", "request_id", "detail"})
	if err != nil {
		return err
	}
	var before doorward.AuditMark
	for {
		page, err := read(ctx, before)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			b := auditOf(r)
			row := []string{strconv.FormatInt(b.ID, 10), b.Time, b.Action, b.Outcome, b.ActorKind, b.Actor, b.ActorName, b.Target, b.Org, b.Address, b.RequestID, b.Detail}
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
