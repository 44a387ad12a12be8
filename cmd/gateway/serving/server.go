package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

const (
	longestHeader = 16 << 10
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	// writeTimeout is above the longest wait and what comes before it.
	writeTimeout = 50 * time.Second
	// finishTimeout is how long calls in flight have once the server takes no new ones.
	finishTimeout = 15 * time.Second
)

// Server serves a handler over TLS.
type Server struct {
	Handler http.Handler
	// Listener is where; Serve closes it.
	Listener net.Listener
	// CertFile and KeyFile are taken up anew when they change.
	CertFile, KeyFile string
	// Stopping is called when the stop begins: the waiting calls are to be answered.
	Stopping func()
	// Linger is how long new calls are accepted after that, while load balancers remove the endpoint.
	Linger time.Duration
}

// Serve serves until ctx ends, and returns when the calls in flight are answered.
func (s *Server) Serve(ctx context.Context) error {
	watcher, err := certwatcher.New(s.CertFile, s.KeyFile)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	server := &http.Server{
		Handler: s.Handler, MaxHeaderBytes: longestHeader,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate, NextProtos: []string{"h2", "http/1.1"}},
		// A client that breaks off a handshake is not worth a line.
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(ctrl.Log.WithName("http")), slog.LevelDebug),
	}
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	go func() {
		if err := watcher.Start(background); err != nil {
			ctrl.Log.WithName("gateway").Error(err, "a changed certificate cannot be loaded")
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(s.Listener, "", "") }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.Stopping()
	server.SetKeepAlivesEnabled(false) // the next call is another process's
	time.Sleep(s.Linger)
	finish, cancel := context.WithTimeout(background, finishTimeout)
	defer cancel()
	if err := server.Shutdown(finish); err != nil {
		return fmt.Errorf("calls were cut off: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
