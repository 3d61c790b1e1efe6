package doorward

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	const (
		short    = "new_password: must have at least 8 characters"
		long     = "new_password: must have at most 256 characters"
		username = "new_password: must not be the username"
		common   = "new_password: is one of the most common passwords; choose another"
		utf8     = "new_password: must be valid UTF-8"
	)
	tests := []struct {
		name, username, password string
		refusal                  string // empty: accepted
	}{
		{"the pages' own", "ada", "your-password", ""},
		{"the pages' own", "ada", "secure-password", ""},
		{"the pages' own", "ada", "new-pass", ""},
		{"the pages' own", "ada", "old-pass", ""},
		{"no composition rules", "ada", "plain lower case words", ""},
		{"any character counts", "ada", "\x00\t\r\n\u202e\u200d e\U0001f6aa", ""},
		{"empty", "ada", "", short},
		{"empty and no username", "", "", short},
		{"seven", "ada", "k7#vQ9!", short},
		{"eight", "ada", "k7#vQ9!x", ""},
		{"characters, not bytes: seven of four bytes", "ada", strings.Repeat("🚪", 7), short},
		{"characters, not bytes: eight of two bytes", "ada", "éèêëàâäå", ""},
		{"256 characters", "ada", strings.Repeat("kx", 128), ""},
		{"256 characters of four bytes", "ada", strings.Repeat("🚪", 256), ""},
		{"257 characters", "ada", strings.Repeat("kx", 128) + "k", long},
		{"257 characters of four bytes", "ada", strings.Repeat("🚪", 257), long},
		{"10 MB", "ada", strings.Repeat("k", 10<<20), long},
		{"not UTF-8", "ada", "k7#vQ9!x\xff", utf8},
		{"a surrogate half", "ada", "k7#vQ9!x\xed\xa0\x80", utf8},
		{"the username", "ada.lovelace", "ada.lovelace", username},
		{"the username in another case", "Ada.Lovelace", "aDA.lOVELACE", username},
		{"more than the username", "ada.lovelace", "ada.lovelace.", ""},
		{"common", "ada", "password", common},
		{"common in another case", "ada", "PassWord1", common},
		{"common with the usual symbols", "ada", "P@ssw0rd!", common},
		{"a keyboard walk", "ada", "1qaz2wsx", common},
		{"common in another script", "ada", "ПАРОЛЬ123", common},
		{"eight spaces", "ada", "        ", common},
		{"one character again and again", "ada", "aaaaaaaa", common},
		{"compared whole: common and more", "ada", "password and a door", ""},
		{"compared whole: two lines of the list", "ada", "password\npassword0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := PasswordPolicy{MinLength: 8}.Check("new_password", tt.username, tt.password)
			if tt.refusal == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeInvalid || e.Message != tt.refusal {
				t.Fatalf("got %v, want %q", err, tt.refusal)
			}
		})
	}
}

func TestPasswordPolicyMinimum(t *testing.T) {
	t.Parallel()
	tests := []struct {
		minimum  int
		password string
		ok       bool
	}{
		{0, "k7#vQ9!", false}, // the zero value asks for eight
		{0, "k7#vQ9!x", true},
		{1, "k", true},
		{1, "", false},
		{1, "1234", false}, // the list holds short ones for such an owner
		{15, "fourteen chars", false},
		{15, "fifteen chars !", true},
	}
	for _, tt := range tests {
		err := PasswordPolicy{MinLength: tt.minimum}.Check("password", "ada", tt.password)
		if (err == nil) != tt.ok {
			t.Errorf("minimum %d, %q: %v", tt.minimum, tt.password, err)
		}
	}
}

// A search by halves finds nothing in a list that an editor has reordered or stripped of
// its lines of spaces.
func TestCommonPasswordListIsInOrder(t *testing.T) {
	t.Parallel()
	list := commonPasswords()
	if len(list) < 3000 {
		t.Fatalf("only %d common passwords", len(list))
	}
	for i, word := range list {
		if word == "" || word != strings.ToLower(word) || strings.ContainsAny(word, "\r\t") {
			t.Errorf("line %d, %q, is not a password in lower case", i+1, word)
		}
		if i > 0 && list[i-1] >= word {
			t.Errorf("line %d, %q, must come before %q, and only once", i+1, word, list[i-1])
		}
		if tooLongForPassword(word) {
			t.Errorf("line %d is too long to be anybody's password", i+1)
		}
	}
	for _, word := range []string{"        ", "12345678", "iloveyou", "trustno1", "zzzzzzzz", list[0], list[len(list)-1]} {
		if !commonPassword(word) {
			t.Errorf("%q is not found in the list", word)
		}
	}
	for _, word := range []string{"your-password", "secure-password", "new-pass", "old-pass"} {
		if slices.Contains(list, word) {
			t.Errorf("%q, which the pages use, must not be in the list", word)
		}
	}
}

func BenchmarkPasswordPolicy(b *testing.B) {
	for _, bb := range []struct{ name, password string }{
		{"accepted", "a door that nobody has opened"},
		{"common", "Password123"},
		{"10MB", strings.Repeat("k", 10<<20)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			refused := bb.name != "accepted"
			b.ReportAllocs()
			for b.Loop() {
				if (PasswordPolicy{}.Check("password", "ada", bb.password) != nil) != refused {
					b.Fatal("judged otherwise than expected")
				}
			}
		})
	}
}
