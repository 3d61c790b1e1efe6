package doorward

import (
	"strconv"
	"strings"
	"time"
)

// ParseAuditQuery reads what a query asks of the audit log; most is the longest page. A wish that
// nobody knows is refused: the answer to another question than was asked is worse than none.
// In what form the answer is wanted ("format") is read elsewhere.
func ParseAuditQuery(query map[string][]string, most int) (q AuditQuery, err error) {
	q.Limit = most
	for name, values := range query {
		if len(values) != 1 {
			return q, Invalid(name, "must not be given twice")
		}
		v := values[0]
		if v == "" {
			continue // as an empty field of a form
		}
		switch name {
		case "actor":
			q.Actor = v
		case "action":
			q.Action = v
		case "target":
			q.Target = v
		case "request_id":
			q.RequestID = v
		case "from":
			q.From, err = parseAuditTime(name, v)
		case "to":
			q.To, err = parseAuditTime(name, v)
		case "after":
			q.Before, err = ParseAuditMark(v)
		case "limit":
			if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 || q.Limit > most {
				err = Invalid(name, "must be a number from 1 to %d", most)
			}
		case "format":
		default:
			err = Invalid("query", "may hold actor, action, target, request_id, from, to, after, limit and format")
		}
		if err == nil && (strings.ContainsRune(v, 0) || strings.ToValidUTF8(v, "") != v || len(v) > 256) {
			err = Invalid(name, "must be a text of at most 256 bytes")
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

func parseAuditTime(name, s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return t, Invalid(name, "must be a time like 2030-01-31T23:59:59Z")
	}
	return t, nil
}
