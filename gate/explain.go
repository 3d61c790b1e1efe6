package gate

import (
	"cmp"
	"net/http"

	"doorward"
)

// Explanation is what the door makes of a request, and why.
type Explanation struct {
	Path string // in its one form, escaped
	Rule string // which rule decides
	// Refusal is what the caller is told; nil when the request is let through.
	Refusal *doorward.Error
	Status  int // of the refusal; 0 when let through
	// Ours says that the request is answered here rather than by the service behind.
	Ours     bool
	Identity doorward.Identity // as whom the service sees the caller
	Upstream int               // index in Rules.Upstreams, when let through to a service
}

// Explain says what the door makes of r when id has shown a good credential in a header, or
// nobody any, for the zero identity, while the door stands as mode says. asked is where the caller asks to act, of the
// places that there are; nil when they are not known. It is the same judgement as ServeHTTP's, without looking at anything that is not in its arguments.
func (p *Policy) Explain(r *http.Request, id doorward.Identity, asked doorward.Asked, there *doorward.Places, mode doorward.Mode) Explanation {
	pass := &Pass{Host: r.Host, Path: r.URL.Path, rule: ruleForm}
	e := Explanation{}
	err := p.explain(r, pass, id, asked, there, mode, &e)
	e.Path, e.Rule, e.Identity, e.Upstream = cmp.Or(pass.RawPath, pass.Path), pass.decided(r.Method), pass.Identity, pass.Upstream
	if err != nil {
		e.Refusal = doorward.Refusal(err)
		e.Status = statusOf(e.Refusal.Code)
	}
	return e
}

func (p *Policy) explain(r *http.Request, pass *Pass, id doorward.Identity, asked doorward.Asked, there *doorward.Places, mode doorward.Mode, e *Explanation) error {
	r, err := new(Gate).scope(r, pass)
	if err != nil {
		return err
	}
	pass.rule = "our own paths"
	d, _, ours, err := p.find(r, pass.form)
	if e.Ours = ours; err != nil {
		return err
	}
	if ours {
		pass.rule = d.name
		return explainDoor(d, pass, id, asked, there, mode)
	}
	pass.rule = ""
	host := canonicalHost(pass.Host)
	if pass.ruled, err = p.judge(r.Method, host, pass.form); err != nil {
		pass.rule = ruleForm
		return err
	}
	if r.Host == "" {
		pass.rule = ruleForm
		return errNoHost
	}
	switch {
	case p.Disabled:
		pass.Identity, pass.rule = doorward.Anonymous, ruleDisabled
	case mode == doorward.ModeOpen:
		pass.Identity, pass.rule = doorward.Anonymous, ruleOpen
	case mode == doorward.ModeSetup:
		pass.rule = ruleSetup
		return doorward.ErrSetupRequired
	case pass.ruled.public():
		if pass.Identity = doorward.Anonymous; id.MustChange || id.IsZero() {
			break
		}
		if err := pass.enter(id, asked, there); err != nil {
			return err
		}
	case isPreflight(r) && p.preflight(r, host, pass.form):
		pass.Identity, pass.rule = doorward.Anonymous, rulePreflight
	default:
		if err := pass.enter(id, asked, there); err != nil {
			return err
		}
		if err := pass.ruled.need.Admit(pass.Identity); err != nil {
			return err
		}
		if pass.Identity.MustChange {
			return doorward.ErrPasswordChangeRequired
		}
	}
	pass.Upstream, err = p.upstream(r.Method, host, pass.form)
	return err
}

func explainDoor(d *Door, pass *Pass, id doorward.Identity, asked doorward.Asked, there *doorward.Places, mode doorward.Mode) error {
	if mode == doorward.ModeSetup && d.Need != doorward.NeedNothing {
		return doorward.ErrSetupRequired
	}
	if d.Reads == ReadsHeaders || d.Reads == ReadsAll {
		if err := pass.enter(id, asked, there); err != nil {
			return err
		}
	}
	if err := d.Need.Admit(pass.Identity); err != nil {
		return err
	}
	if pass.Identity.MustChange && !d.MustChange {
		return doorward.ErrPasswordChangeRequired
	}
	return nil
}

// enter puts id, acting where it asks to, into the pass. Nobody asks for nothing.
func (p *Pass) enter(id doorward.Identity, asked doorward.Asked, there *doorward.Places) error {
	if id.IsZero() {
		return nil
	}
	var err error
	if p.Identity, err = id.Enter(asked, there); err == nil {
		return nil
	}
	p.rule = "X-Workspace-ID needs membership"
	if asked.Org != "" && asked.Org != p.Identity.Org {
		p.rule = "X-Organization-ID needs membership"
	}
	return err
}
