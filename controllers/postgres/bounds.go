package postgres

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// The bounds of a server's answers. A server that is hostile, or a tenant whose objects and settings decide what is sent, could otherwise fill the
// memory of this program: the driver itself bounds nothing.
const (
	// callBytes bounds what is received while a connection of the pool is in use once. A thousand tenants are about 2 MB.
	callBytes = 8 << 20
	// statusBytes bounds the ParameterStatus messages of one connection, because the driver keeps each name and value.
	statusBytes = 256 << 10
	// connectionBytes is what a connection of the pool may have received before another one takes its place, so that statusBytes is never
	// reached in health.
	connectionBytes = 1 << 20
	// loginBytes bounds a whole attempt to log in as a tenant. In health it is about 500 bytes, and with TLS 5 KB.
	loginBytes = 256 << 10
)

// errTooMuch says that a server has sent more than it may.
var errTooMuch = errors.New("the server sent more than is accepted")

// tooMuch says whether an error is errTooMuch, or the driver's own of that kind.
func tooMuch(err error) bool {
	var message *pgproto3.ExceededMaxBodyLenErr
	return errors.Is(err, errTooMuch) || errors.As(err, &message)
}

// errNoAnswer says that a server has answered a question with something else than one value.
var errNoAnswer = errors.New("the server has answered with something else than one value")

// askOne asks for one value as text, by the simple protocol. The driver's own way loses the error when the server has sent too much.
func askOne(ctx context.Context, connection *pgconn.PgConn, sql string) (string, error) {
	connection.Frontend().SendQuery(&pgproto3.Query{String: sql})
	if err := connection.Frontend().Flush(); err != nil {
		return "", err
	}
	var rows int
	var value string
	var refused error
	for {
		message, err := connection.ReceiveMessage(ctx)
		if err != nil {
			return "", err
		}
		switch message := message.(type) {
		case *pgproto3.DataRow:
			rows++
			if len(message.Values) == 1 {
				value = string(message.Values[0])
			}
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(message)
		case *pgproto3.ReadyForQuery:
			if refused == nil && rows != 1 {
				refused = errNoAnswer
			}
			return value, refused
		}
	}
}

// meter is a connection that fails once more has been received than it may. It counts below TLS.
type meter struct {
	net.Conn
	left, received atomic.Int64
}

func newMeter(connection net.Conn, most int64) *meter {
	m := &meter{Conn: connection}
	m.left.Store(most)
	return m
}

func (m *meter) Read(p []byte) (int, error) {
	left := m.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := m.Conn.Read(p[:min(int64(len(p)), left)])
	m.left.Add(-int64(n))
	m.received.Add(int64(n))
	return n, err
}

// bound has everything that a pool's connections receive bounded.
func bound(config *pgconn.Config) {
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return newMeter(connection, callBytes), nil
	}
	config.MaxProtocolMessageBodyLen = callBytes
	config.BuildFrontend = boundedFrontend
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	// Without one, the driver keeps every notification until it is asked for. A trigger could LISTEN and NOTIFY.
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
}

// reuse prepares a pooled connection for its next use, and says whether it may be used again.
func reuse(_ context.Context, connection *pgx.Conn) (bool, error) {
	raw := connection.PgConn().Conn()
	if secured, is := raw.(*tls.Conn); is {
		raw = secured.NetConn()
	}
	m, is := raw.(*meter)
	if !is || m.received.Load() > connectionBytes {
		return false, nil
	}
	m.left.Store(callBytes)
	return true, nil
}

func boundedFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(&statusReader{r: r}, w)
}

// statusReader follows the messages of a server, fails once the ParameterStatus messages among them are too many or too long, and tells when
// the server has accepted the login. A message is its type, one byte; its length without the type, four bytes; and its body (PostgreSQL
// documentation, 54.2).
type statusReader struct {
	r        io.Reader
	accepted func() // nil = the caller does not ask
	header   [5]byte
	have     int // bytes of the header
	body     int // bytes of the body that are still to come
	statuses int // bytes of ParameterStatus messages
}

func (s *statusReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		if s.body > 0 {
			skipped := min(s.body, len(rest))
			s.body -= skipped
			rest = rest[skipped:]
			continue
		}
		copied := copy(s.header[s.have:], rest)
		s.have += copied
		rest = rest[copied:]
		if s.have < len(s.header) {
			continue
		}
		s.have = 0
		length := int(binary.BigEndian.Uint32(s.header[1:]))
		s.body = max(length-4, 0) // the driver refuses a shorter one
		switch {
		case s.header[0] == 'S':
			s.statuses += length
		case s.header[0] == 'R' && length == 8 && s.accepted != nil: // AuthenticationOk: every other message as short asks for a method that the driver lacks
			s.accepted()
		}
	}
	if s.statuses > statusBytes {
		return 0, errTooMuch
	}
	return n, err
}
