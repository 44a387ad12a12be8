// Package logging sets up the log of the programs that talk to the API server.
package logging

import (
	"flag"

	"go.uber.org/zap/zapcore"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// MostVerbose is the highest level that is logged. From level 8 on client-go writes down whole requests and answers of the API server. Among them are
// the Secrets with the Fly tokens and the database logins, and the callers' tokens in TokenReviews.
const MostVerbose = 7

// Options are the flags of the log.
type Options struct{ zap zap.Options }

// Bind adds the flags.
func (o *Options) Bind(flags *flag.FlagSet) {
	o.zap.StacktraceLevel = zapcore.DPanicLevel // an error says what is wrong, and not where in the program that was noticed
	o.zap.BindFlags(flags)
}

// Start has the program log from now on. Call it once the flags are parsed.
func (o *Options) Start() {
	if o.zap.Level != nil && o.zap.Level.Enabled(-MostVerbose-1) {
		o.zap.Level = zapcore.Level(-MostVerbose)
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.zap)))
}
