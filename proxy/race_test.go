//go:build race

package proxy_test

// raceEnabled says whether the race detector is on, which makes all slow.
const raceEnabled = true
