package doorward

// AuditEntry records who did what to whom, from where, in which request. It is written in
// the transaction of what it records, so that neither exists without the other. It never
// holds a secret.
type AuditEntry struct {
	Action    string // noun.verb: user.create, session.end
	ActorKind Kind
	Actor     string // subject
	ActorName string // username, for people
	Target    string // id of what was acted on
	Org       string
	Address   string
	RequestID string
	Detail    string // in words, for people
}

// Audit starts the entry for something this caller does.
func (c Caller) Audit(action, target, detail string) AuditEntry {
	e := AuditEntry{
		Action: action, ActorKind: c.Kind, Actor: c.Subject, ActorName: c.Username,
		Target: target, Org: c.Org, RequestID: c.RequestID, Detail: detail,
	}
	if c.Address.IsValid() {
		e.Address = c.Address.String()
	}
	return e
}
