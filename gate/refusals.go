package gate

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"doorward"
)

// KeptRefusals is how many refusals are remembered, the newest.
const KeptRefusals = 10_000

// RefusalHours is of how many hours refusals are counted, the one under way among them.
const RefusalHours = doorward.OverviewDays * 24

// Refusals remembers what this server has refused since its start, by the id that the answer
// carries, and counts it by the hour. It takes at most some ten MiB, whatever clients send;
// an idle server's take next to nothing. Make one with NewRefusals; it is safe for concurrent use.
type Refusals struct {
	since time.Time

	mu    sync.Mutex
	kept  []refusal // a ring once there are KeptRefusals
	next  int       // the oldest, which goes next, once it is a ring
	hour  int64     // the newest that was counted, from 1970 on
	hours [RefusalHours]int64
}

// NewRefusals makes one that remembers nothing yet; now is when the server has started.
func NewRefusals(now time.Time) *Refusals {
	return &Refusals{since: now.UTC().Truncate(time.Millisecond), hour: hourOf(now)}
}

// Refusal is a request that went no further, as it is remembered. Long texts are cut.
type Refusal struct {
	RequestID string
	Time      time.Time
	Method    string
	Path      string // decoded, without the query
	Rule      string // which decided; empty where none had
	Status    int
	Error     string
	Client    netip.Addr

	Subject, Username string // empty for nobody
	Role              doorward.Role
	Org               string // the one that the request acted in
}

// What is kept of each text, in bytes. All are in one string of its own: those of a request
// are parts of what the client has sent, which would be kept whole with them.
const (
	keptMethod  = 16
	keptPath    = 256
	keptRule    = 200
	keptError   = 120
	keptSubject = 128
	keptName    = 64
	keptRole    = 16
	keptOrg     = 64

	keptText = keptMethod + keptPath + keptRule + keptError + keptSubject + keptName + keptRole + keptOrg
)

const refusalTexts = 8

// refusal is one as it is kept.
type refusal struct {
	at     int64 // milliseconds from 1970 on
	client netip.Addr
	text   string
	ends   [refusalTexts]uint16 // of its parts
	status uint16
	id     [requestIDLen]byte
}

// keep remembers one. A flood of refusals comes here, so it allocates once, a string as long as what is kept.
func (rs *Refusals) keep(now time.Time, f Refusal) {
	r := refusal{at: now.UnixMilli(), client: f.Client, status: uint16(f.Status)}
	copy(r.id[:], f.RequestID)
	var text [keptText]byte
	n := 0
	for i, part := range [refusalTexts]struct {
		s    string
		most int
	}{
		{f.Method, keptMethod}, {f.Path, keptPath}, {f.Rule, keptRule}, {f.Error, keptError},
		{f.Subject, keptSubject}, {f.Username, keptName}, {string(f.Role), keptRole}, {f.Org, keptOrg},
	} {
		n += copy(text[n:n+part.most], part.s)
		r.ends[i] = uint16(n)
	}
	r.text = string(text[:n])
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.count(hourOf(now))
	if len(rs.kept) < KeptRefusals {
		rs.kept = append(rs.kept, r)
		return
	}
	rs.kept[rs.next] = r
	rs.next = (rs.next + 1) % KeptRefusals
}

// count counts one in its hour. It is called with mu held.
func (rs *Refusals) count(hour int64) {
	rs.turn(hour)
	if hour > rs.hour-RefusalHours { // the clock may have been set back
		rs.hours[hour%RefusalHours]++
	}
}

// turn forgets the hours whose places are those of newer ones, up to hour.
func (rs *Refusals) turn(hour int64) {
	for n := 0; rs.hour < hour && n < RefusalHours; n++ {
		rs.hour++
		rs.hours[rs.hour%RefusalHours] = 0
	}
	rs.hour = max(rs.hour, hour)
}

func hourOf(t time.Time) int64 { return max(t.Unix()/3600, 0) }

// Since is when the first could have been remembered: when this server has started.
func (rs *Refusals) Since() time.Time { return rs.since }

// Newest returns what by may know of the newest refusals, the newest first, at most limit; of
// the request with this id alone, unless id is empty. An admin may know of those of
// callers in the organization that by acts in who are not above them, from since on, a superadmin of all, those of nobody among them.
func (rs *Refusals) Newest(by doorward.Caller, since time.Time, id string, limit int) ([]Refusal, error) {
	if !by.Role.AtLeast(doorward.Admin) {
		return nil, doorward.ErrForbidden
	}
	var asked [requestIDLen]byte
	if copy(asked[:], id); len(id) > len(asked) {
		return nil, nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var all []Refusal
	for i := len(rs.kept) - 1; i >= 0 && len(all) < limit; i-- {
		r := &rs.kept[(rs.next+i)%len(rs.kept)]
		if id != "" && r.id != asked {
			continue
		}
		// What somebody above them was refused may be about another organization, in which superadmins act.
		if f := r.told(); by.Role == doorward.Superadmin || f.Org != "" && f.Org == by.Org && by.Role.AtLeast(f.Role) && !f.Time.Before(since) {
			all = append(all, f)
		}
	}
	return all, nil
}

func (r *refusal) told() Refusal {
	var parts [refusalTexts]string
	begin := uint16(0)
	for i, end := range r.ends {
		parts[i], begin = r.text[begin:end], end
	}
	return Refusal{
		RequestID: strings.TrimRight(string(r.id[:]), "\x00"), Time: time.UnixMilli(r.at).UTC(), Status: int(r.status), Client: r.client,
		Method: parts[0], Path: parts[1], Rule: parts[2], Error: parts[3],
		Subject: parts[4], Username: parts[5], Role: doorward.Role(parts[6]), Org: parts[7],
	}
}

// RefusalCount is how many requests were refused in one hour.
type RefusalCount struct {
	Hour     time.Time // when it began, UTC
	Refusals int64
}

// Hours returns how many requests this server has refused in each of the last RefusalHours
// hours, oldest first; hours in which there was none are left out. They are of all
// organizations and of nobody, so only a superadmin is told.
func (rs *Refusals) Hours(by doorward.Caller, now time.Time) ([]RefusalCount, error) {
	if by.Role != doorward.Superadmin {
		return nil, doorward.ErrForbidden
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.turn(hourOf(now))
	var all []RefusalCount
	for hour := max(rs.hour-RefusalHours+1, 0); hour <= rs.hour; hour++ {
		if n := rs.hours[hour%RefusalHours]; n > 0 {
			all = append(all, RefusalCount{time.Unix(hour*3600, 0).UTC(), n})
		}
	}
	return all, nil
}
