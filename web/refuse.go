package web

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"doorward"
)

// problem is what a refusal is to the person who reads it.
type problem struct {
	text  string
	field string // of the form; empty for none, or all
}

// inWords says a refusal to a person. It says no more than the refusal does.
func inWords(e *doorward.Error) problem {
	switch {
	case errors.Is(e, doorward.ErrInvalidCredentials):
		return problem{text: "The username or the password is wrong."}
	case errors.Is(e, doorward.ErrAccountLocked):
		return problem{text: "There were too many wrong passwords for this username. Try again " + after(e.RetryAfter) + "."}
	case e.Code == doorward.CodeThrottled:
		return problem{text: "There is too much to do at the moment. Try again " + after(e.RetryAfter) + "."}
	case errors.Is(e, doorward.ErrCrossOrigin):
		return problem{text: "This did not come from a page of this site, or your browser did not say so. Try again on this page."}
	case errors.Is(e, doorward.ErrSetupRequired):
		return problem{text: "Nobody is set up here yet."}
	case e.Code == doorward.CodeUnavailable:
		return problem{text: "That cannot be done at the moment. Try again in a few seconds."}
	case errors.Is(e, doorward.ErrForbidden):
		return problem{text: "You may not do that."}
	}
	switch field, why, _ := strings.Cut(e.Message, ": "); {
	case label(field) != "" && strings.HasPrefix(why, "there is "):
		return problem{text: sentence(why), field: field}
	case field == "body":
		return problem{text: "The form " + why + "."}
	case label(field) != "":
		return problem{text: label(field) + " " + why + ".", field: field}
	}
	return problem{text: sentence(e.Message)}
}

// label is what a page calls a field; empty for one that is none of a page's.
func label(field string) string {
	switch field {
	case "username":
		return "The username"
	case "password":
		return "The password"
	case "current_password":
		return "The current password"
	case "new_password":
		return "The new password"
	case "code":
		return "The setup code"
	case "role":
		return "The role"
	case "name":
		return "The name"
	case "id":
		return "The id"
	case "workspaces":
		return "The list of workspaces"
	case "workspace":
		return "The workspace"
	case "new_password_again", "password_again":
		return "The repeated password"
	}
	return ""
}

// sentence makes one of an error's message.
func sentence(message string) string {
	if message == "" {
		return "That was refused."
	}
	return strings.ToUpper(message[:1]) + message[1:] + "."
}

// after is when to try again, never too early: rounded up, as Retry-After is.
func after(d time.Duration) string {
	minutes := (d + time.Minute - 1) / time.Minute
	switch {
	case d <= 10*time.Second:
		return "in a few seconds"
	case minutes == 1:
		return "in about a minute"
	case minutes <= 90:
		return fmt.Sprintf("in about %d minutes", minutes)
	}
	return fmt.Sprintf("in about %d hours", (d+time.Hour-1)/time.Hour)
}

// must holds that a page of ours can be made; only a template that a test would have found
// wrong cannot.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
