package web

import (
	"testing"
	"time"

	"doorward"
)

func TestRefusalsInWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    *doorward.Error
		want problem
	}{
		{doorward.ErrInvalidCredentials, problem{"The username or the password is wrong.", ""}},
		{doorward.Locked(15 * time.Minute), problem{"There were too many wrong passwords for this username. Try again in about 15 minutes.", ""}},
		{doorward.Throttled(time.Second), problem{"There is too much to do at the moment. Try again in a few seconds.", ""}},
		{doorward.ErrTooManyRequests, problem{"There is too much to do at the moment. Try again in a few seconds.", ""}},
		{doorward.ErrUnavailable, problem{"That cannot be done at the moment. Try again in a few seconds.", ""}},
		{doorward.ErrSetupRequired, problem{"Nobody is set up here yet.", ""}},
		{doorward.ErrForbidden, problem{"You may not do that.", ""}},
		{doorward.Invalid("new_password", "is too short"), problem{"The new password is too short.", "new_password"}},
		{doorward.Invalid("body", "is not UTF-8"), problem{"The form is not UTF-8.", ""}},
		{doorward.Invalid("Cookie", "is given twice"), problem{"Cookie: is given twice.", ""}},
		{doorward.Conflict("the account was changed meanwhile"), problem{"The account was changed meanwhile.", ""}},
		{&doorward.Error{}, problem{"That was refused.", ""}},
	} {
		if got := inWords(c.e); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.e.Message, got, c.want)
		}
	}
}

func TestAfterIsNeverTooEarly(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                              "in a few seconds",
		10 * time.Second:               "in a few seconds",
		11 * time.Second:               "in about a minute",
		time.Minute:                    "in about a minute",
		time.Minute + time.Millisecond: "in about 2 minutes",
		15 * time.Minute:               "in about 15 minutes",
		90 * time.Minute:               "in about 90 minutes",
		91 * time.Minute:               "in about 2 hours",
		24 * time.Hour:                 "in about 24 hours",
	} {
		if got := after(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
