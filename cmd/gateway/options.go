package main

import (
	"errors"
	"flag"
	"time"
)

// options are the gateway's flags.
type options struct {
	address        string
	certFile       string
	keyFile        string
	probeAddress   string
	metricsAddress string
	audience       string
	issuers        string
	ownerLogins    string
	trustedProxies string
	minInterval    time.Duration
	linger         time.Duration
	maxInFlight    int
	failedRate     float64
	failedBurst    int
}

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.address, "bind-address", ":8444", "Where the endpoint is served, over TLS.")
	flags.StringVar(&o.certFile, "tls-cert-file", "", "File with the endpoint's certificate. A changed file is loaded.")
	flags.StringVar(&o.keyFile, "tls-key-file", "", "File with the certificate's key.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Where /healthz and /readyz are served.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "Where /metrics is served, over TLS and to authorized clients alone; 0 turns it off.")
	flags.StringVar(&o.audience, "token-audience", "tenant-credential-gateway", "The audience that the tokens of the cluster's service accounts must be for.")
	flags.StringVar(&o.issuers, "authentication-config", "", "File with an AuthenticationConfiguration (apiserver.config.k8s.io): the OpenID Connect issuers of the customers' tokens. Default: none.")
	flags.StringVar(&o.ownerLogins, "owner-logins", "", "Folder with one file for each TenantEnvironment, by its name: the URL of a login that may execute tenant_credentials.owner_is and nothing else. Default: no customer owns a tenant.")
	flags.StringVar(&o.trustedProxies, "trusted-proxies", "", "Networks, with commas between them, whose X-Forwarded-For is trusted. Default: none.")
	flags.DurationVar(&o.minInterval, "min-interval", time.Minute, "The least time between two rotations of a tenant. A rotation after a compromise does not wait for it.")
	flags.DurationVar(&o.linger, "shutdown-delay", 5*time.Second, "How long new calls are accepted after a stop has begun, while load balancers remove the endpoint.")
	flags.IntVar(&o.maxInFlight, "max-in-flight", 1000, "How many calls are answered at once. More are answered 503.")
	flags.Float64Var(&o.failedRate, "failed-logins-per-second", 1, "How many calls a second with a token that is not accepted one address may make. More are answered 429 before the token is looked at.")
	flags.IntVar(&o.failedBurst, "failed-logins-burst", 20, "How many such calls one address may make at once.")
}

func (o *options) check() error {
	switch {
	case o.certFile == "" || o.keyFile == "":
		return errors.New("write --tls-cert-file and --tls-key-file: tokens are never sent in clear")
	case o.audience == "":
		return errors.New("write a --token-audience: a token for another service would be accepted")
	case o.maxInFlight < 1 || o.failedBurst < 1 || o.failedRate <= 0:
		return errors.New("write --max-in-flight, --failed-logins-per-second and --failed-logins-burst above 0")
	default:
		return nil
	}
}
