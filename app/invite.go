package app

import (
	"context"
	"errors"
	"time"

	"doorward"
	frontdoor "doorward/door"
)

type userInviteCmd struct {
	Name      string   `arg:"" name:"name" help:"The username."`
	Role      string   `name:"role" placeholder:"ROLE" help:"Make the user, with this role: superadmin, admin, editor or viewer."`
	Org       string   `name:"org" placeholder:"ID" help:"With --role: the organization (default: default)."`
	Workspace []string `name:"workspace" placeholder:"ID" help:"With --role: a workspace in which the role holds; may be repeated (default: default)."`
	JSON      bool     `name:"json" help:"Print JSON."`
}

func (*userInviteCmd) takes(key string) bool {
	return inDatabase(key) || key == "invites.life" || key == "public_url" || key == "paths.prefix"
}

// Validate refuses what says of somebody to be made what nothing is made of.
func (c *userInviteCmd) Validate() error {
	if c.Role == "" && (c.Org != "" || len(c.Workspace) > 0) {
		return errors.New("--org and --workspace are for a user to be made; give --role too")
	}
	return nil
}

// shownInvite is a link as it is shown to programs.
type shownInvite struct {
	ID       string    `json:"id"`
	Username string    `json:"username"`
	Link     string    `json:"link"`
	Expires  time.Time `json:"expires_at"`
}

// Run makes a link, and with a role first the user that it is for.
func (c *userInviteCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	u, i, err := c.invite(ctx, o)
	if err != nil {
		return err
	}
	page, note := frontdoor.InvitePage(o.settings.PathPrefix), " (put the address of this server before it, or set public_url)"
	if o.settings.PublicURL != nil {
		page, note = o.settings.PublicURL.Scheme+"://"+o.settings.PublicURL.Host+page, ""
	}
	link := i.Link(page)
	return p.did(c.JSON, shownInvite{u.ID, u.Username, link, i.Expires.UTC()}, "link for %s, good once until %s: %s%s", u.Username, i.Expires.UTC().Format(time.RFC3339), link, note)
}

func (c *userInviteCmd) invite(ctx context.Context, o *office) (doorward.User, doorward.Invitation, error) {
	if c.Role == "" {
		u, err := userNamed(ctx, o.kept, c.Name)
		if err != nil {
			return doorward.User{}, doorward.Invitation{}, err
		}
		i, err := o.InviteUser(ctx, hand(u.Org), u.ID)
		return u, i, err
	}
	if c.Org == "" {
		c.Org = doorward.Default
	}
	if err := o.organization(ctx, c.Org); err != nil {
		return doorward.User{}, doorward.Invitation{}, err
	}
	return o.CreateInvited(ctx, hand(c.Org), doorward.NewUser{Username: c.Name, Role: c.Role, Workspaces: c.Workspace})
}
