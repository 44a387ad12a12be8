package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

const (
	gatewayAccount  = "tenant-credential-gateway"
	gatewayAudience = "tenant-credential-gateway"
	gatewayLogin    = "tcred_gateway"
	// staffAccount may rotate the credentials of every tenant.
	staffAccount = "platform-staff"
	// minInterval is shorter than a platform's, so that the demo need not wait for it.
	minInterval = 10 * time.Second
)

// startGateway runs the endpoint as its Deployment would: with its service account's rights, the files that are mounted there, and a certificate of
// the playground's authority.
func (s *supervisor) startGateway(ctx context.Context) error {
	if s.ports.gateway == 0 {
		for _, port := range []*int{&s.ports.gateway, &s.ports.gatewayProbes, &s.ports.gatewayMetrics} {
			var err error
			if *port, err = pgserver.FreePort(); err != nil {
				return err
			}
		}
		if err := s.writeGatewayFiles(); err != nil {
			return err
		}
	}
	kubeconfig, err := s.cluster.accountKubeconfig(ctx, gatewayAccount, "gateway")
	if err != nil {
		return err
	}
	command, err := s.start("gateway", "gateway", s.files.gatewayFolder(), []string{"GOTRACEBACK=crash"}, "--kubeconfig", kubeconfig,
		"--bind-address", fmt.Sprintf("127.0.0.1:%d", s.ports.gateway),
		"--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", s.ports.gatewayProbes),
		"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", s.ports.gatewayMetrics),
		"--tls-cert-file", s.files.gateway("tls/tls.crt"), "--tls-key-file", s.files.gateway("tls/tls.key"), "--authentication-config", s.files.gateway("authentication.yaml"),
		"--owner-logins", s.files.gateway("logins"), "--min-interval", minInterval.String(), "--shutdown-delay", "0s", "-zap-log-level="+s.logLevel())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.gateway = command
	s.mu.Unlock()
	if err := s.note(); err != nil {
		return err
	}
	if err := poll(ctx, 60*time.Second, func() error { return s.gatewayReady(ctx) }); err != nil {
		return fmt.Errorf("the gateway is not ready; see %s: %w", s.files.log("gateway"), err)
	}
	return nil
}

func (s *supervisor) gatewayReady(ctx context.Context) error {
	return answers(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", s.ports.gatewayProbes))
}

func (s *supervisor) stopGateway() {
	s.mu.Lock()
	command := s.gateway
	s.gateway = nil
	s.mu.Unlock()
	if command != nil {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	}
}

// writeGatewayFiles writes what the gateway's Deployment mounts.
func (s *supervisor) writeGatewayFiles() error {
	certificate, key, err := s.authority.Issue("127.0.0.1")
	if err != nil {
		return err
	}
	written := map[string]string{
		"tls/tls.crt": certificate, "tls/tls.key": key, "ca.crt": s.authority.Certificate,
		"authentication.yaml": authenticationConfiguration(s.issuer),
	}
	for name, d := range s.databases {
		written["logins/"+name] = d.gateway
	}
	for name, content := range written {
		path := s.files.gateway(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// gatewayVariables are what a caller of the endpoint needs: where it is, and a token each of an owner, of a stranger and of the platform's staff.
func (s *supervisor) gatewayVariables(ctx context.Context) ([][2]string, error) {
	staff, err := s.cluster.token(ctx, staffAccount, gatewayAudience)
	if err != nil {
		return nil, err
	}
	return [][2]string{
		{"GATEWAY_URL", fmt.Sprintf("https://127.0.0.1:%d", s.ports.gateway)},
		{"GATEWAY_CA", s.files.gateway("ca.crt")},
		{"GATEWAY_OWNER", ownerSubject},
		{"GATEWAY_OWNER_TOKEN", customerToken(s.issuer, ownerSubject)},
		{"GATEWAY_STRANGER_TOKEN", customerToken(s.issuer, strangerSubject)},
		{"GATEWAY_STAFF_TOKEN", staff},
		{"GATEWAY_LOG", s.files.log("gateway")},
		{"GATEWAY_PID", strconv.Itoa(s.gateway.Process.Pid)},
		{"GATEWAY_METRICS_URL", fmt.Sprintf("https://127.0.0.1:%d/metrics", s.ports.gatewayMetrics)},
	}, nil
}
