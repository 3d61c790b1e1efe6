package app

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"doorward"
)

type userCmd struct {
	Add           userAddCmd           `cmd:"" help:"Make a user; the password is asked for."`
	List          userListCmd          `cmd:"" help:"List users."`
	SetRole       userSetRoleCmd       `cmd:"" help:"Give a user another role."`
	SetWorkspaces userSetWorkspacesCmd `cmd:"" help:"Say in which workspaces a user's role holds: all of them."`
	Disable       userDisableCmd       `cmd:"" help:"Let a user in no more."`
	Enable        userEnableCmd        `cmd:"" help:"Let a disabled user in again."`
	Unlock        userUnlockCmd        `cmd:"" help:"End the lock that wrong passwords have put on an account."`
	Invite        userInviteCmd        `cmd:"" help:"Print a link with which a user chooses a password, once; with --role, make the user first."`
	ResetPassword userResetPasswordCmd `cmd:"" help:"Give a user another password, which is asked for, and unlock the account."`
	Delete        userDeleteCmd        `cmd:"" help:"Delete a user."`
	Import        userImportCmd        `cmd:"" help:"Make users of the accounts of another program: all of them or none."`
}

type userAddCmd struct {
	Name          string   `arg:"" name:"name" help:"The username."`
	Role          string   `name:"role" required:"" placeholder:"ROLE" help:"superadmin, admin, editor or viewer."`
	Org           string   `name:"org" default:"default" placeholder:"ID" help:"The organization (default: default)."`
	Workspace     []string `name:"workspace" placeholder:"ID" help:"A workspace in which the role holds; may be repeated (default: default)."`
	MustChange    bool     `name:"must-change" help:"The user must choose another password first."`
	PasswordStdin bool     `name:"password-stdin" help:"Read the password from standard input."`
	JSON          bool     `name:"json" help:"Print JSON."`
}

type userListCmd struct {
	Org    string `name:"org" placeholder:"ID" help:"Only those of this organization."`
	Search string `name:"search" placeholder:"TEXT" help:"Only those whose name holds this."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

type userSetRoleCmd struct {
	Name string `arg:"" name:"name" help:"The user."`
	Role string `arg:"" name:"role" help:"superadmin, admin, editor or viewer."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type userSetWorkspacesCmd struct {
	Name       string   `arg:"" name:"name" help:"The user."`
	Workspaces []string `arg:"" name:"workspace" help:"All the workspaces in which the role holds from now on."`
	JSON       bool     `name:"json" help:"Print JSON."`
}

type userDisableCmd struct{ userName }
type userEnableCmd struct{ userName }
type userUnlockCmd struct{ userName }
type userDeleteCmd struct{ userName }

type userName struct {
	Name string `arg:"" name:"name" help:"The user."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type userResetPasswordCmd struct {
	Name          string `arg:"" name:"name" help:"The user."`
	MustChange    bool   `name:"must-change" help:"The user must choose another one first."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input."`
	JSON          bool   `name:"json" help:"Print JSON."`
}

func (*userAddCmd) takes(key string) bool           { return forPeople(key) }
func (*userListCmd) takes(key string) bool          { return inDatabase(key) }
func (*userSetRoleCmd) takes(key string) bool       { return inDatabase(key) }
func (*userSetWorkspacesCmd) takes(key string) bool { return inDatabase(key) }
func (*userDisableCmd) takes(key string) bool       { return inDatabase(key) }
func (*userEnableCmd) takes(key string) bool        { return inDatabase(key) }
func (*userUnlockCmd) takes(key string) bool        { return inDatabase(key) }
func (*userResetPasswordCmd) takes(key string) bool { return forPeople(key) }
func (*userDeleteCmd) takes(key string) bool        { return inDatabase(key) }

// shownUser is a user as it is shown to programs.
type shownUser struct {
	ID         string   `json:"id"`
	Username   string   `json:"username"`
	Role       string   `json:"role"`
	Org        string   `json:"org_id"`
	Workspaces []string `json:"workspaces"`
	Disabled   bool     `json:"disabled"`
	MustChange bool     `json:"must_change"`
}

func showUser(u doorward.User) shownUser {
	return shownUser{u.ID, u.Username, string(u.Role), u.Org, append([]string{}, u.Workspaces...), u.Disabled, u.MustChange}
}

// Run makes a user, also the first one.
func (c *userAddCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.organization(ctx, c.Org); err != nil {
		return err
	}
	if _, err := doorward.ParseRole(c.Role); err != nil { // before anybody types a password in vain
		return fmt.Errorf("--%w", err)
	}
	password, err := p.newPassword(ctx, c.PasswordStdin)
	if err != nil {
		return err
	}
	u, err := o.CreateUser(ctx, hand(c.Org), doorward.NewUser{
		Username: c.Name, Password: password, Role: c.Role, Workspaces: c.Workspace, MustChange: c.MustChange,
	})
	if err != nil {
		return err
	}
	return p.did(c.JSON, showUser(u), "made user %s: %s in organization %s, workspaces %s", u.Username, u.Role, u.Org, strings.Join(u.Workspaces, ", "))
}

// Run lists users as they are read, however many there are.
func (c *userListCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Org != "" {
		if err := o.organization(ctx, c.Org); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(p.Out)
	list := listUsers
	if c.JSON {
		list = listUsersJSON
	}
	if err := list(out, func(yield func(doorward.User) error) error { return o.eachUser(ctx, c.Org, c.Search, yield) }); err != nil {
		return err
	}
	return out.Flush()
}

// eachUser calls yield for each user of an organization, or of all.
func (o *office) eachUser(ctx context.Context, org, search string, yield func(doorward.User) error) error {
	var orgs []string
	err := o.kept.Places(ctx, org, func(is doorward.Organization, _ []string) error {
		orgs = append(orgs, is.ID)
		return nil
	})
	if err != nil {
		return err
	}
	for _, org := range orgs {
		for after := ""; ; {
			page, next, err := o.Users(ctx, hand(org), search, after, 1000)
			if err != nil {
				return err
			}
			for _, u := range page {
				if err := yield(u); err != nil {
					return err
				}
			}
			if after = next; next == "" {
				break
			}
		}
	}
	return nil
}

func listUsers(out io.Writer, each func(func(doorward.User) error) error) error {
	line := columns(out, "%-28s  %-10s  %-16s  %-12s  %s")
	if err := line("ID", "ROLE", "ORGANIZATION", "STATE", "USERNAME AND WORKSPACES"); err != nil {
		return err
	}
	return each(func(u doorward.User) error {
		state := ""
		switch {
		case u.Disabled:
			state = "disabled"
		case u.MustChange:
			state = "must change"
		}
		return line(u.ID, u.Role, u.Org, cmp.Or(state, "-"), u.Username+"  "+strings.Join(u.Workspaces, ","))
	})
}

func listUsersJSON(out io.Writer, each func(func(doorward.User) error) error) error {
	return listJSON(out, "users", func(yield func(any) error) error {
		return each(func(u doorward.User) error { return yield(showUser(u)) })
	})
}

// changeUser changes the user of that name and prints what is said of the one that came of it.
func (p *program) changeUser(ctx context.Context, command takesSettings, src *sources, name string, change doorward.UserChange, asJSON bool, said func(doorward.User) string) error {
	o, err := p.openOffice(ctx, command, src)
	if err != nil {
		return err
	}
	defer o.close()
	u, err := userNamed(ctx, o.kept, name)
	if err != nil {
		return err
	}
	if u, err = o.ChangeUser(ctx, hand(u.Org), u.ID, change); err != nil {
		return err
	}
	return p.did(asJSON, showUser(u), "%s", said(u))
}

// Run gives a user another role.
func (c *userSetRoleCmd) Run(ctx context.Context, p *program, src *sources) error {
	return p.changeUser(ctx, c, src, c.Name, doorward.UserChange{Role: &c.Role}, c.JSON, func(u doorward.User) string {
		return fmt.Sprintf("%s is %s now", u.Username, u.Role)
	})
}

// Run says in which workspaces a user's role holds.
func (c *userSetWorkspacesCmd) Run(ctx context.Context, p *program, src *sources) error {
	return p.changeUser(ctx, c, src, c.Name, doorward.UserChange{Workspaces: c.Workspaces}, c.JSON, func(u doorward.User) string {
		what := "workspaces"
		if len(u.Workspaces) == 1 {
			what = "workspace"
		}
		return fmt.Sprintf("%s is in the %s %s now", u.Username, what, strings.Join(u.Workspaces, ", "))
	})
}

// Run disables a user and ends their sessions.
func (c *userDisableCmd) Run(ctx context.Context, p *program, src *sources) error {
	yes := true
	return p.changeUser(ctx, c, src, c.Name, doorward.UserChange{Disabled: &yes}, c.JSON, func(u doorward.User) string { return "disabled " + u.Username })
}

// Run enables a user.
func (c *userEnableCmd) Run(ctx context.Context, p *program, src *sources) error {
	no := false
	return p.changeUser(ctx, c, src, c.Name, doorward.UserChange{Disabled: &no}, c.JSON, func(u doorward.User) string { return "enabled " + u.Username })
}

// Run ends the lock on an account.
func (c *userUnlockCmd) Run(ctx context.Context, p *program, src *sources) error {
	return p.withUser(ctx, c, src, c.Name, c.JSON, "unlocked %s", func(o *office, u doorward.User) error {
		return o.UnlockUser(ctx, hand(u.Org), u.ID)
	})
}

// Run deletes a user.
func (c *userDeleteCmd) Run(ctx context.Context, p *program, src *sources) error {
	return p.withUser(ctx, c, src, c.Name, c.JSON, "deleted %s", func(o *office, u doorward.User) error {
		return o.DeleteUser(ctx, hand(u.Org), u.ID)
	})
}

// Run sets a user's password, ends their sessions and unlocks the account.
func (c *userResetPasswordCmd) Run(ctx context.Context, p *program, src *sources) error {
	return p.withUser(ctx, c, src, c.Name, c.JSON, "reset the password of %s", func(o *office, u doorward.User) error {
		password, err := p.newPassword(ctx, c.PasswordStdin)
		if err != nil {
			return err
		}
		return o.ResetPassword(ctx, hand(u.Org), u.ID, password, c.MustChange)
	})
}

// withUser does something to the user of that name and prints what it was.
func (p *program) withUser(ctx context.Context, command takesSettings, src *sources, name string, asJSON bool, format string, do func(*office, doorward.User) error) error {
	o, err := p.openOffice(ctx, command, src)
	if err != nil {
		return err
	}
	defer o.close()
	u, err := userNamed(ctx, o.kept, name)
	if err != nil {
		return err
	}
	if err := do(o, u); err != nil {
		return err
	}
	return p.did(asJSON, map[string]string{"id": u.ID, "username": u.Username, "done": fmt.Sprintf(format, u.Username)}, format, u.Username)
}
