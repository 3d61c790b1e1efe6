package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"doorward"
)

type orgCmd struct {
	Create orgCreateCmd `cmd:"" help:"Make an organization, with a workspace default."`
	List   orgListCmd   `cmd:"" help:"List organizations and their workspaces."`
	Rename orgRenameCmd `cmd:"" help:"Give an organization another name; its id stays."`
	Delete orgDeleteCmd `cmd:"" help:"Delete an organization in which nobody is, with its workspaces."`
}

type orgCreateCmd struct {
	ID   string `arg:"" name:"id" help:"Its id: a-z, 0-9 and -."`
	Name string `name:"name" placeholder:"TEXT" help:"Its name, for people (default: its id)."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type orgListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

type orgRenameCmd struct {
	ID   string `arg:"" name:"id" help:"The organization."`
	Name string `arg:"" name:"name" help:"Its name from now on, for people."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type orgDeleteCmd struct {
	ID   string `arg:"" name:"id" help:"The organization."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type workspaceCmd struct {
	Create workspaceCreateCmd `cmd:"" help:"Make a workspace."`
	List   workspaceListCmd   `cmd:"" help:"List the workspaces of an organization."`
	Rename workspaceRenameCmd `cmd:"" help:"Give a workspace another name; its id stays."`
	Delete workspaceDeleteCmd `cmd:"" help:"Delete a workspace in which nobody is."`
}

type workspaceCreateCmd struct {
	ID   string `arg:"" name:"id" help:"Its id: a-z, 0-9 and -."`
	Org  string `name:"org" default:"default" placeholder:"ID" help:"The organization (default: default)."`
	Name string `name:"name" placeholder:"TEXT" help:"Its name, for people (default: its id)."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type workspaceListCmd struct {
	Org  string `name:"org" default:"default" placeholder:"ID" help:"The organization (default: default)."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type workspaceRenameCmd struct {
	ID   string `arg:"" name:"id" help:"The workspace."`
	Name string `arg:"" name:"name" help:"Its name from now on, for people."`
	Org  string `name:"org" default:"default" placeholder:"ID" help:"The organization (default: default)."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type workspaceDeleteCmd struct {
	ID   string `arg:"" name:"id" help:"The workspace."`
	Org  string `name:"org" default:"default" placeholder:"ID" help:"The organization (default: default)."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (*orgCreateCmd) takes(key string) bool       { return inDatabase(key) }
func (*orgListCmd) takes(key string) bool         { return inDatabase(key) }
func (*orgRenameCmd) takes(key string) bool       { return inDatabase(key) }
func (*orgDeleteCmd) takes(key string) bool       { return inDatabase(key) }
func (*workspaceCreateCmd) takes(key string) bool { return inDatabase(key) }
func (*workspaceListCmd) takes(key string) bool   { return inDatabase(key) }
func (*workspaceRenameCmd) takes(key string) bool { return inDatabase(key) }
func (*workspaceDeleteCmd) takes(key string) bool { return inDatabase(key) }

// shownPlace is an organization or a workspace as it is shown to programs.
type shownPlace struct {
	ID         string   `json:"id"`
	Org        string   `json:"org_id,omitempty"`     // of a workspace
	Workspaces []string `json:"workspaces,omitempty"` // of an organization
	Name       string   `json:"name,omitempty"`
}

// Run makes an organization.
func (c *orgCreateCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	made, err := o.CreateOrganization(ctx, hand(doorward.Default), c.ID, c.Name)
	if err != nil {
		return err
	}
	return p.did(c.JSON, shownPlace{ID: made.ID, Name: made.Name, Workspaces: []string{doorward.Default}}, "made organization %s", made.ID)
}

// Run lists organizations with their workspaces.
func (c *orgListCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	var all []shownPlace
	err = o.kept.Places(ctx, "", func(is doorward.Organization, workspaces []string) error {
		all = append(all, shownPlace{ID: is.ID, Name: is.Name, Workspaces: workspaces})
		return nil
	})
	if err != nil {
		return err
	}
	return p.listPlaces(c.JSON, "organizations", all)
}

// Run gives an organization another name.
func (c *orgRenameCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.organization(ctx, c.ID); err != nil {
		return err
	}
	is, err := o.RenameOrganization(ctx, hand(doorward.Default), c.ID, c.Name)
	if err != nil {
		return err
	}
	return p.did(c.JSON, shownPlace{ID: is.ID, Name: is.Name}, "organization %s is called %s now", is.ID, is.Name)
}

// Run deletes an organization.
func (c *orgDeleteCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.DeleteOrganization(ctx, hand(doorward.Default), c.ID); err != nil {
		return err
	}
	return p.did(c.JSON, shownPlace{ID: c.ID}, "deleted organization %s", c.ID)
}

// Run makes a workspace.
func (c *workspaceCreateCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	made, err := o.CreateWorkspace(ctx, hand(c.Org), c.ID, c.Name)
	if err != nil {
		return err
	}
	return p.did(c.JSON, shownPlace{ID: made.ID, Org: made.Org, Name: made.Name}, "made workspace %s of organization %s", made.ID, made.Org)
}

// Run lists the workspaces of an organization.
func (c *workspaceListCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.organization(ctx, c.Org); err != nil {
		return err
	}
	var all []shownPlace
	for after := ""; ; {
		page, next, err := o.Workspaces(ctx, hand(c.Org), doorward.PlaceQuery{After: after, Limit: 1000})
		if err != nil {
			return err
		}
		for _, w := range page {
			all = append(all, shownPlace{ID: w.ID, Org: w.Org, Name: w.Name})
		}
		if after = next; next == "" {
			return p.listPlaces(c.JSON, "workspaces", all)
		}
	}
}

// Run gives a workspace another name.
func (c *workspaceRenameCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.workspace(ctx, c.Org, c.ID); err != nil {
		return err
	}
	is, err := o.RenameWorkspace(ctx, hand(c.Org), c.ID, c.Name)
	if err != nil {
		return err
	}
	return p.did(c.JSON, shownPlace{ID: is.ID, Org: is.Org, Name: is.Name}, "workspace %s of organization %s is called %s now", is.ID, is.Org, is.Name)
}

// Run deletes a workspace.
func (c *workspaceDeleteCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.DeleteWorkspace(ctx, hand(c.Org), c.ID); err != nil {
		return err
	}
	return p.did(c.JSON, shownPlace{ID: c.ID, Org: c.Org}, "deleted workspace %s of organization %s", c.ID, c.Org)
}

func (p *program) listPlaces(asJSON bool, what string, all []shownPlace) error {
	if asJSON {
		b, err := json.Marshal(map[string][]shownPlace{what: append([]shownPlace{}, all...)})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.Out, "%s\n", b)
		return err
	}
	for _, at := range all {
		line := fmt.Sprintf("%-24s  %s", at.ID, onOneLine(at.Name))
		if what == "organizations" {
			line += "  (" + strings.Join(at.Workspaces, ", ") + ")"
		}
		if _, err := fmt.Fprintln(p.Out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
