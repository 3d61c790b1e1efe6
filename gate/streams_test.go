package gate

import (
	"testing"
	"time"
)

// TestStreamsAreAskedAboutOftenEnough: a stream must end within a second of what ends it. How long
// that took is no test where others use the machine as well; that two rounds of asking, in the second of which at
// the latest it is noticed, leave half of that second is one.
func TestStreamsAreAskedAboutOftenEnough(t *testing.T) {
	t.Parallel()
	if 2*recheckEvery > time.Second/2 {
		t.Errorf("requests under way are asked about every %v: too seldom to end a stream within a second", recheckEvery)
	}
}
