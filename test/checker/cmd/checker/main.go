// Command checker looks at a playground whose file env was sourced, and says what is not as it has to be: one sentence a line.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
)

func main() { os.Exit(run()) }

// run returns 1 if something is wrong, and 2 if nothing could be looked at.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := checker.FromEnvironment()
	if err != nil {
		fmt.Fprintln(os.Stderr, "checker:", err)
		return 2
	}
	violations := checker.Check(ctx, config, nil, nil)
	for _, violation := range violations {
		fmt.Println(violation)
	}
	if len(violations) > 0 {
		fmt.Printf("checker: %d violations\n", len(violations))
		return 1
	}
	fmt.Println("checker: ok")
	return 0
}
