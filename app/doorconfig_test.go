package app

import (
	"reflect"
	"testing"

	frontdoor "doorward/door"
)

// TestTheDoorsDefaultsAreTheSettings: who embeds the door and says nothing has the door of a
// program to which nobody has said anything, but that it never stands open by itself.
func TestTheDoorsDefaultsAreTheSettings(t *testing.T) {
	t.Parallel()
	l := load(sources{})
	if err := l.err(); err != nil {
		t.Fatal(err)
	}
	program, library := l.doorConfig(), frontdoor.Config{}.WithDefaults()
	if !program.OpenAllowed || library.OpenAllowed {
		t.Errorf("open mode: the program %v, the library %v", program.OpenAllowed, library.OpenAllowed)
	}
	program.OpenAllowed = false
	if !program.Sample || library.Sample {
		t.Errorf("the sample service: the program %v, the library %v", program.Sample, library.Sample)
	}
	program.Sample = false
	program = program.WithDefaults() // which fills in what no setting says
	// What a program gives is no setting, and functions cannot be compared.
	program.Now, library.Now = nil, nil
	if a, b := reflect.ValueOf(program), reflect.ValueOf(library); !reflect.DeepEqual(program, library) {
		for i := range a.NumField() {
			if x, y := a.Field(i).Interface(), b.Field(i).Interface(); !reflect.DeepEqual(x, y) {
				t.Errorf("%s: the settings' default is %v, the library's %v", a.Type().Field(i).Name, x, y)
			}
		}
	}
	// Each of the settings' defaults is said, so that the comparison above compared something.
	before := l.doorConfig()
	for _, name := range []string{"DataDir", "SQLite", "MaxStaleness", "AuditRetention", "SecretFile", "JWTAlgorithm", "JWTExpiry", "JWTRefreshExpiry",
		"SessionLifetime", "SessionMaxAge", "RefreshRetryWindow", "LockoutAttempts", "LockoutWindow", "LockoutDuration", "RateLimitMinute", "MinPassword",
		"ForwardCredentials", "MaxHeaders", "BodyTimeout", "HealthPath", "JWKSPath", "MetricsPath", "CookieName", "KeyPrefix"} {
		if reflect.ValueOf(before).FieldByName(name).IsZero() {
			t.Errorf("the settings say nothing of %s", name)
		}
	}
}
