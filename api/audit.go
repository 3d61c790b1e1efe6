package api

import (
	"mime"
	"net/http"
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
		r.ID, r.TimeText(), r.Action, string(r.Outcome), string(r.ActorKind), r.Actor, r.ActorName,
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
		write, err := a.Authority.AuditCSV(r.Context(), p.Caller(r), q)
		if err != nil {
			return err
		}
		gate.WriteCSV(w, r, "audit.csv", write)
		return nil
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
