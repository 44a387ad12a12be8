package faultproxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Postgres is a proxy for PostgreSQL's protocol, without TLS. It names calls after the function or the command that they run; a new
// session is the call login.
type Postgres struct {
	// Address is where it listens.
	Address string

	target   string
	rules    *Rules
	listener net.Listener
	sessions sync.WaitGroup
	ctx      context.Context
	stop     context.CancelFunc
}

// NewPostgres starts a proxy on a free port.
func NewPostgres(target string, rules *Rules) (*Postgres, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Postgres{Address: listener.Addr().String(), target: target, rules: rules, listener: listener, ctx: ctx, stop: stop}
	go p.serve()
	return p, nil
}

// Close ends the proxy and every session.
func (p *Postgres) Close() {
	p.stop()
	_ = p.listener.Close() // it only listened
	p.sessions.Wait()
}

func (p *Postgres) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.sessions.Go(func() { p.session(client) })
	}
}

// session serves one connection until one of its ends closes it.
func (p *Postgres) session(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	s := &session{number: numbers.Add(1), rules: p.rules, toClient: client, toServer: server, statements: map[string]string{}, givenUp: make(chan struct{})}
	done := make(chan struct{})
	defer close(done)
	go func() { // both ends are closed with the proxy
		select {
		case <-p.ctx.Done():
			_, _ = client.Close(), server.Close()
		case <-done:
		}
	}()
	s.fromClient = frames(client, done, func() { close(s.givenUp) }, startup)
	s.fromServer = frames(server, done, func() {}, message)
	s.run()
}

// frame is one message as it stands on the wire. The first ones of a session have no kind.
type frame struct {
	kind byte
	wire []byte
}

func (f frame) payload() []byte {
	if f.kind == 0 {
		return f.wire[4:]
	}
	return f.wire[5:]
}

type readFrame func(io.Reader) (frame, error)

func message(r io.Reader) (frame, error) { return readOne(r, 1) }

func startup(r io.Reader) (frame, error) { return readOne(r, 0) }

// readOne reads a message whose length stands after so many bytes.
func readOne(r io.Reader, before int) (frame, error) {
	wire := make([]byte, before+4)
	if _, err := io.ReadFull(r, wire); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(wire[before:])
	if length < 4 || length > 1<<28 {
		return frame{}, errors.New("not PostgreSQL's protocol")
	}
	wire = append(wire, make([]byte, length-4)...)
	if _, err := io.ReadFull(r, wire[before+4:]); err != nil {
		return frame{}, err
	}
	f := frame{wire: wire}
	if before == 1 {
		f.kind = wire[0]
	}
	return f, nil
}

// frames reads messages, the first one separately, until the connection ends; then it says so. A frontend that says goodbye has ended.
func frames(r io.Reader, done <-chan struct{}, ended func(), first readFrame) <-chan frame {
	out := make(chan frame, 16)
	go func() {
		defer close(out)
		defer ended()
		for read := first; ; read = message {
			f, err := read(r)
			if err != nil || f.kind == 'X' {
				return
			}
			select {
			case out <- f:
			case <-done:
				return
			}
		}
	}()
	return out
}

// numbers has counted the sessions of all proxies.
var numbers atomic.Int64

// session is one connection. Frontends of the operator wait for an answer before they send again, so a session has one call at a time.
type session struct {
	number                 int64
	rules                  *Rules
	toClient, toServer     net.Conn
	fromClient, fromServer <-chan frame
	givenUp                chan struct{}

	statements map[string]string // prepared ones, by name
	about      string            // of the last call that was about something
	call       []frame           // the part of the next call that has come
	executes   string            // the statement that it executes
	answer     []byte            // of the call that meets a fault
}

func (s *session) run() {
	for {
		select {
		case f, more := <-s.fromClient:
			if !more || !s.take(f) {
				return
			}
		case f, more := <-s.fromServer:
			if !more {
				return
			}
			if _, err := s.toClient.Write(f.wire); err != nil {
				return
			}
		}
	}
}

// take collects a call, and deals with it once it is whole.
func (s *session) take(f frame) (goOn bool) {
	s.call = append(s.call, f)
	switch f.kind {
	case 0:
		return s.begin(f)
	case 'P':
		var parse pgproto3.Parse
		if parse.Decode(f.payload()) == nil {
			s.statements[parse.Name] = parse.Query
		}
		return true
	case 'B':
		var bind pgproto3.Bind
		if bind.Decode(f.payload()) == nil {
			s.executes = s.statements[bind.PreparedStatement]
			if len(bind.Parameters) > 0 {
				s.about = uuid.FindString(string(bind.Parameters[0]))
			} else {
				s.concern(s.executes)
			}
		}
		return true
	case 'Q':
		var query pgproto3.Query
		if query.Decode(f.payload()) == nil {
			s.executes = query.String
			s.concern(s.executes)
		}
		return s.meet(callName(s.executes))
	case 'S':
		return s.meet(callName(s.executes))
	case 'p': // an answer of the authentication, which nothing follows
		return s.send() == nil
	default: // part of a call that a Sync ends
		return true
	}
}

// begin deals with what comes before a session.
func (s *session) begin(f frame) (goOn bool) {
	const protocol3 = 3
	if binary.BigEndian.Uint32(f.payload())>>16 != protocol3 { // a cancel request, which has no answer
		return s.send() == nil
	}
	var start pgproto3.StartupMessage
	if start.Decode(f.payload()) != nil {
		return false
	}
	s.about = start.Parameters["user"]
	return s.meet("login")
}

// uuid finds the tenant in the first parameter, be it text or a list in binary, or in a statement that has none.
var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// concern remembers the tenant that a statement without parameters names, as a foreign table's do.
func (s *session) concern(sql string) {
	if id := uuid.FindString(sql); id != "" {
		s.about = id
	}
}

var called = regexp.MustCompile(`tenant_credentials\.([a-z_]+)\(`)

// callName is the function of the ledger that a statement calls, or else its first word in capitals. Preparing a statement is no call.
func callName(sql string) string {
	if match := called.FindStringSubmatch(sql); match != nil {
		return match[1]
	}
	word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	return strings.ToUpper(word)
}

// meet lets the call pass, or meet its fault.
func (s *session) meet(name string) (goOn bool) {
	s.executes = ""
	if name == "" {
		return s.send() == nil
	}
	fault := s.rules.meet(Call{Name: name, About: s.about, Session: s.number})
	if fault == nil {
		return s.send() == nil
	}
	p := &postgresPassage{session: s}
	fault(p)
	return p.answered
}

func (s *session) send() error {
	var all []byte
	for _, f := range s.call {
		all = append(all, f.wire...)
	}
	s.call = nil
	_, err := s.toServer.Write(all)
	return err
}

type postgresPassage struct {
	session  *session
	answered bool
}

func (p *postgresPassage) GivenUp() <-chan struct{} { return p.session.givenUp }

// Forward passes on what an authentication needs, up to the server's word that it has succeeded: that is the answer to a login.
func (p *postgresPassage) Forward() error {
	s := p.session
	if err := s.send(); err != nil {
		return err
	}
	for {
		select {
		case f, more := <-s.fromServer:
			if !more {
				return io.ErrUnexpectedEOF
			}
			if f.kind == 'R' && binary.BigEndian.Uint32(f.payload()) != 0 {
				if _, err := s.toClient.Write(f.wire); err != nil {
					return err
				}
				continue
			}
			s.answer = append(s.answer, f.wire...)
			if f.kind == 'Z' {
				return nil
			}
		case f, more := <-s.fromClient:
			if !more {
				s.fromClient = nil // it is gone; its request goes on
				continue
			}
			if _, err := s.toServer.Write(f.wire); err != nil {
				return err
			}
		}
	}
}

func (p *postgresPassage) Answer() {
	_, err := p.session.toClient.Write(p.session.answer)
	p.session.answer = nil
	p.answered = err == nil && p.session.fromClient != nil
}

func (p *postgresPassage) Refuse() {
	refusal := &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01",
		Message: "terminating connection due to administrator command"}
	if wire, err := refusal.Encode(nil); err == nil {
		_, _ = p.session.toClient.Write(wire) // the connection ends in any case
	}
}
