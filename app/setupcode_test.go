package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// saysCode is the setup code that the console has said last.
func (d *door) saysCode() string {
	d.t.Helper()
	all := saidSetupCode.FindAllStringSubmatch(d.log.String(), -1)
	if len(all) == 0 {
		d.t.Fatalf("the console says no setup code: %s", d.log)
	}
	return all[len(all)-1][1]
}

// takesCode fails the test unless the code is good here, or is not. A password that is too short shows it, and leaves
// the place of the first user free.
func (d *door) takesCode(code string, good bool) {
	d.t.Helper()
	a := d.do("POST", "/api/auth/users", header("X-Setup-Code", code), jsonBody(credentialsJSON("root", "short")))
	if good {
		a.want(http.StatusBadRequest)
		return
	}
	a.refused(http.StatusUnauthorized, "invalid token")
}

// TestOneSetupCodeOnAllNodes: the code of one is the other's, and not that of another installation, though it has
// the same secret. A rotation before the first user leaves the code good that was said, for as long as the old secret verifies.
func TestOneSetupCodeOnAllNodes(t *testing.T) {
	t.Parallel()
	settings := append(onPostgres.settings(t), "open_mode=never", "jwt.secret="+oldSecret)
	a, b := newDoor(t, settings...), newDoor(t, settings...)
	code := a.saysCode()
	if got := b.saysCode(); got != code {
		t.Errorf("the other node says %s, want %s", got, code)
	}
	other := newDoor(t, append(onPostgres.settings(t), "open_mode=never", "jwt.secret="+oldSecret)...)
	if other.saysCode() == code {
		t.Error("another installation says the same code")
	}
	other.takesCode(code, false)
	a.takesCode(other.saysCode(), false)
	b.restart()
	if got := b.saysCode(); got != code {
		t.Errorf("after a restart it is %s, want %s", got, code)
	}
	b.takesCode(code, true)

	// In two steps, as docs/rotation.md says.
	for _, d := range []*door{a, b} {
		d.restart("jwt.previous_secrets=" + newSecret)
	}
	b.restart("jwt.secret="+newSecret, "jwt.previous_secrets="+oldSecret)
	next := b.saysCode()
	if next == code || a.saysCode() != code {
		t.Errorf("the nodes say %s and %s; before it was %s", a.saysCode(), next, code)
	}
	for _, d := range []*door{a, b} {
		d.takesCode(code, true)
		d.takesCode(next, true)
	}
	a.restart("jwt.secret="+newSecret, "jwt.previous_secrets="+oldSecret)
	a.takesCode(code, true)
	delete(b.flags, "jwt.previous_secrets")
	b.restart()
	b.takesCode(code, false) // as everything that the old secret has made
	b.takesCode(next, true)

	a.do("POST", "/api/auth/users", header("X-Setup-Code", next), jsonBody(firstUserBody)).want(http.StatusCreated)
	for _, d := range []*door{a, b} {
		for _, spent := range []string{code, next} {
			d.do("POST", "/api/auth/users", header("X-Setup-Code", spent), jsonBody(credentialsJSON("eve", rootPassword))).
				refused(http.StatusUnauthorized, "token required")
		}
		said := strings.Count(d.log.String(), "X-Setup-Code")
		d.restart()
		if d.house.authority.SetupCode() != "" || strings.Count(d.log.String(), "X-Setup-Code") != said {
			t.Error("with a user there is a setup code")
		}
	}
}

// TestTheSetupCodeOutlivesARotation of the secret file by as long as the old secret verifies, which with --now is not at all.
func TestTheSetupCodeOutlivesARotation(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never")
	codes := []string{d.saysCode()}
	rotates := func(flags ...string) {
		t.Helper()
		d.prints(slices.Concat([]string{"secret", "rotate"}, flags)...)
		last := codes[len(codes)-1]
		until(t, 20*time.Second, "the server signs with the new secret", func() bool { return d.house.authority.SetupCode() != last })
		codes = append(codes, d.house.authority.SetupCode())
	}
	rotates()
	d.takesCode(codes[0], true)
	d.takesCode(codes[1], true)
	d.clock.advance(31 * 24 * time.Hour)
	d.takesCode(codes[0], false)
	d.takesCode(codes[1], true)
	rotates("--now")
	d.takesCode(codes[1], false)
	d.do("POST", "/api/auth/users", header("X-Setup-Code", codes[2]), jsonBody(firstUserBody)).want(http.StatusCreated)
}
