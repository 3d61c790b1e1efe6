package sample

import "context"

// greet is the answerer when there is no command. It waits for nothing and needs no
// limit: its answer is hardly longer than the prompt.
func greet(_ context.Context, prompt string, _ int64) (string, error) {
	return "Hello from Doorward's sample service. You said: " + prompt, nil
}
