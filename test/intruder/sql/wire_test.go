package sql

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
	"github.com/xdg-go/scram"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

const (
	wirePassword = "wire-password"
	// patience is how long a test waits for a server that never answers.
	patience = 3 * time.Second
	// wireBytes is what may be allocated in all, for what the hostile server itself sends, too.
	wireBytes = 256 << 20
)

// hostile is a server that speaks PostgreSQL's protocol, and does what a test says.
type hostile struct {
	net.Conn
	backend *pgproto3.Backend
}

// serve listens on loopback and gives every connection, after its startup message, to a script. It returns a pool of the operator's, and its end
// closes every connection.
func serve(t *testing.T, script func(h hostile)) *postgres.Server {
	t.Helper()
	return servePatiently(t, script, 1)
}

// servePatiently is serve for a script that takes a slow machine so many seconds before the connection is made.
func servePatiently(t *testing.T, script func(h hostile), seconds int) *postgres.Server {
	t.Helper()
	address := listen(t, script)
	server, err := postgres.Connect(t.Context(), postgres.Config{
		URL: credential.SecretOf(fmt.Sprintf("postgres://operator:%s@%s/platform?sslmode=disable&connect_timeout=%d", wirePassword, address, seconds)), MaxConnections: 2})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

func listen(t *testing.T, script func(h hostile)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
	})
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
				h := hostile{Conn: connection, backend: pgproto3.NewBackend(connection, connection)}
				if first, err := h.backend.ReceiveStartupMessage(); err == nil {
					if _, is := first.(*pgproto3.StartupMessage); is { // and not a request to cancel
						script(h)
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// flood sends a message until the other side has closed the connection. next is given the number of the message.
func (h hostile) flood(next func(i int) pgproto3.BackendMessage) {
	for i := 0; ; i++ {
		h.backend.Send(next(i))
		if i%64 == 0 && h.backend.Flush() != nil {
			return
		}
	}
}

// promise sends the beginning of a message that says to be almost 1 GiB long, and as much of it as is taken.
func (h hostile) promise(kind byte) {
	header := binary.BigEndian.AppendUint32([]byte{kind}, 1<<30-8)
	if _, err := h.Write(header); err != nil {
		return
	}
	for chunk := make([]byte, 1<<16); ; {
		if _, err := h.Write(chunk); err != nil {
			return
		}
	}
}

func (h hostile) send(messages ...pgproto3.BackendMessage) {
	for _, message := range messages {
		h.backend.Send(message)
	}
	_ = h.backend.Flush()
}

// wait stays silent until the other side has closed the connection.
func (h hostile) wait() {
	for {
		if _, err := h.backend.Receive(); err != nil {
			return
		}
	}
}

// authenticate is an honest server's SCRAM-SHA-256, up to AuthenticationOk. It answers whether the client has proved the password.
func (h hostile) authenticate() bool {
	client, err := scram.SHA256.NewClient("", wirePassword, "")
	if err != nil {
		return false
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		return false
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return false
	}
	h.send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
	first, ok := h.sasl(pgproto3.AuthTypeSASL).(*pgproto3.SASLInitialResponse)
	if !ok {
		return false
	}
	conversation := server.NewConversation()
	challenge, err := conversation.Step(string(first.Data))
	if err != nil {
		return false
	}
	h.send(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)})
	proof, ok := h.sasl(pgproto3.AuthTypeSASLContinue).(*pgproto3.SASLResponse)
	if !ok {
		return false
	}
	signature, err := conversation.Step(string(proof.Data))
	if err != nil {
		return false
	}
	h.send(&pgproto3.AuthenticationSASLFinal{Data: []byte(signature)}, &pgproto3.AuthenticationOk{})
	return true
}

func (h hostile) sasl(state uint32) pgproto3.FrontendMessage {
	if h.backend.SetAuthType(state) != nil {
		return nil
	}
	message, err := h.backend.Receive()
	if err != nil {
		return nil
	}
	return message
}

// ready ends an honest login.
func (h hostile) ready() bool {
	if !h.authenticate() {
		return false
	}
	h.send(&pgproto3.ParameterStatus{Name: "in_hot_standby", Value: "off"}, &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	return true
}

// answer is an honest answer of one text to a simple query.
func (h hostile) answer(text string) {
	if _, err := h.backend.Receive(); err == nil {
		h.send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x"), DataTypeOID: 25, DataTypeSize: -1}}},
			&pgproto3.DataRow{Values: [][]byte{[]byte(text)}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
}

var (
	kilobyte = strings.Repeat("x", 1000)
	notice   = func(int) pgproto3.BackendMessage {
		return &pgproto3.NoticeResponse{Severity: "NOTICE", Message: kilobyte}
	}
	status = func(i int) pgproto3.BackendMessage {
		return &pgproto3.ParameterStatus{Name: fmt.Sprint("name", i), Value: "v"}
	}
	notification = func(int) pgproto3.BackendMessage {
		return &pgproto3.NotificationResponse{Channel: "c", Payload: kilobyte}
	}
)

const (
	loginTooMuch = "The server sends more than 256 KiB at the tenant's login."
	callTooMuch  = "PostgreSQL sent more than this program accepts in answer to one call."
	noAnswer     = "PostgreSQL did not answer in time, or the call was given up."
	notReached   = "PostgreSQL cannot be reached (address or TLS)."
	onlyScram    = ", and only scram-sha-256 is accepted: it alone proves the password, and does not tell it to the server."
	inClear      = "PostgreSQL (pg_hba.conf), or a pooler before it, asks for the authentication password" + onlyScram
	byMD5        = "PostgreSQL (pg_hba.conf), or a pooler before it, asks for the authentication md5" + onlyScram
	trusting     = "PostgreSQL (pg_hba.conf), or a pooler before it, lets the login in without its password (trust, peer or a certificate)" + onlyScram
)

// scripted is a hostile server's script, and what comes of it: reason and detail of the login check, and of a call with the operator's login.
type scripted struct {
	name   string
	script func(h hostile)
	reason failure.Reason
	login  string
	call   string // "" = the script concerns the login check alone
}

// beforeLogin is what a server can do to a client that has not logged in.
var beforeLogin = []scripted{
	{"never answers", hostile.wait, reasons.ConnectionFailed, noAnswer, noAnswer},
	{"notices without end", func(h hostile) { h.flood(notice) }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"ParameterStatus without end", func(h hostile) { h.flood(status) }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"BackendKeyData without end", func(h hostile) {
		h.flood(func(int) pgproto3.BackendMessage {
			return &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte(kilobyte)[:256]}
		})
	}, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"an error message of 1 GiB", func(h hostile) { h.promise('E') }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"a notice of 1 GiB", func(h hostile) { h.promise('N') }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"a ParameterStatus of 1 GiB", func(h hostile) { h.promise('S') }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"a SASL challenge of 1 GiB", func(h hostile) {
		h.send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
		h.promise('R')
	}, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"SCRAM with two thousand million iterations", func(h hostile) {
		h.send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
		first, _ := h.sasl(pgproto3.AuthTypeSASL).(*pgproto3.SASLInitialResponse)
		_, nonce, _ := strings.Cut(string(first.Data), "r=")
		h.send(&pgproto3.AuthenticationSASLContinue{Data: []byte("r=" + nonce + "more,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=2147483647")})
		h.wait()
	}, reasons.ConnectionFailed, notReached, notReached},
	{"asks for the password in clear", func(h hostile) {
		h.send(&pgproto3.AuthenticationCleartextPassword{})
		h.wait()
	}, reasons.MethodNotAccepted, inClear, inClear},
	{"asks for the password by MD5", func(h hostile) {
		h.send(&pgproto3.AuthenticationMD5Password{})
		h.wait()
	}, reasons.MethodNotAccepted, byMD5, byMD5},
	{"asks for no password", func(h hostile) {
		h.send(&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		h.wait()
	}, reasons.MethodNotAccepted, trusting, trusting},
	{"is ready before the login", func(h hostile) {
		h.send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		h.wait()
	}, reasons.ConnectionFailed, notReached, notReached},
	{"takes the password, and never says that it is ready", func(h hostile) {
		if h.authenticate() {
			h.wait()
		}
	}, reasons.ConnectionFailed, noAnswer, noAnswer},
	{"a message that is shorter than its own length", func(h hostile) {
		_, _ = h.Write([]byte{'S', 0, 0, 0, 1})
		h.wait()
	}, reasons.ConnectionFailed, notReached, notReached},
	{"a message of no known type", func(h hostile) {
		_, _ = h.Write([]byte{'?', 0, 0, 0, 4})
		h.wait()
	}, reasons.ConnectionFailed, notReached, notReached},
	{"an error of the ledger's own class, with 100 KB of terminal sequences", func(h hostile) {
		h.send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "TC017", Message: strings.Repeat("\x1b[2J\u202e", 12000)})
		h.wait()
	}, reasons.VerificationFailed, "PostgreSQL, or a pooler before it, refused the tenant's login: SQLSTATE TC017 (of another class).", ""},
	{"an SQLSTATE of 100 KB", func(h hostile) {
		h.send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: strings.Repeat("XX000", 20000)})
		h.wait()
	}, reasons.VerificationFailed, "PostgreSQL, or a pooler before it, refused the tenant's login: SQLSTATE XX000 (internal error).", ""},
	{"a standby", func(h hostile) {
		if h.authenticate() {
			h.send(&pgproto3.ParameterStatus{Name: "in_hot_standby", Value: "on"}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
			h.answer("t")
		}
	}, reasons.ConnectionFailed, "The server is read-only: it is a standby, or in recovery.", "The server is read-only: it is a standby, or in recovery."},
}

// afterLogin is what a server can do to a client that has asked which role it acts as.
var afterLogin = []scripted{
	{"a row of 1 GiB", func(h hostile) { h.promise('D') }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"rows without end", func(h hostile) {
		h.send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x"), DataTypeOID: 25, DataTypeSize: -1}}})
		h.flood(func(int) pgproto3.BackendMessage { return &pgproto3.DataRow{Values: [][]byte{[]byte(kilobyte)}} })
	}, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"rows of sixty thousand empty columns without end", func(h hostile) {
		h.flood(func(int) pgproto3.BackendMessage { return &pgproto3.DataRow{Values: make([][]byte, 60000)} })
	}, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"results without end", func(h hostile) {
		h.flood(func(int) pgproto3.BackendMessage { return &pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")} })
	}, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"notices without end after the login", func(h hostile) { h.flood(notice) }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"notifications without end", func(h hostile) { h.flood(notification) }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"ParameterStatus without end after the login", func(h hostile) { h.flood(status) }, reasons.VerificationFailed, loginTooMuch, callTooMuch},
	{"no row", func(h hostile) {
		h.send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		h.wait()
	}, reasons.VerificationFailed, "The server's answer at the tenant's login cannot be read.", ""},
	{"another role, whose name is 100 KB of terminal sequences", func(h hostile) {
		row := &pgproto3.DataRow{Values: [][]byte{[]byte(strings.Repeat("\x1b[2J\u202e", 12000))}}
		h.send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x"), DataTypeOID: 25, DataTypeSize: -1}}}, row,
			&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		h.wait()
	}, reasons.VerificationFailed, `Its sessions act as role "[2J[2J[2J[2J[2J[2J[2J[2J[2J", not as tenant.`, ""},
}

// For any bytes of a server the login check ends, with a reason, and takes next to no memory.
func TestIntruderHostileServerAtTheLoginCheck(t *testing.T) {
	for _, attack := range append(beforeLogin, afterReady(afterLogin)...) {
		t.Run(attack.name, func(t *testing.T) {
			server := serve(t, attack.script)
			var err error
			requireFrugal(t, wireBytes, func() {
				err = server.VerifyLogin(t.Context(), postgres.Login{Name: "tenant_b", Role: "tenant", Database: "site", Password: credential.SecretOf(wirePassword)})
			})
			refused := requireFailure(t, err, failure.Retry, attack.reason)
			require.Equal(t, attack.login, refused.Detail)
		})
	}
}

// The same against the operator's own login, by a server that it asks something.
func TestIntruderHostileServerAtACall(t *testing.T) {
	for _, attack := range append(beforeLogin, afterPrimary(afterLogin)...) {
		if attack.call == "" {
			continue
		}
		t.Run(attack.name, func(t *testing.T) {
			server, ctx := servePatiently(t, attack.script, 12), t.Context() // for a slow machine to reach the bound
			if attack.call == noAnswer {
				server = serve(t, attack.script)
				patient, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				ctx = patient
			}
			var err error
			requireFrugal(t, wireBytes, func() { _, err = server.Survey(ctx) })
			reason := failure.Reason(reasons.ConnectionFailed)
			if attack.reason == reasons.MethodNotAccepted {
				reason = attack.reason
			}
			refused := requireFailure(t, err, failure.Retry, reason)
			require.Equal(t, attack.call, refused.Detail)
		})
	}
}

// afterReady puts an honest login before each script, and waits for the question.
func afterReady(attacks []scripted) []scripted {
	return before(attacks, func(h hostile) bool { return h.ready() && h.asked() })
}

// afterPrimary does the same for the operator's login, whose first question is honestly answered.
func afterPrimary(attacks []scripted) []scripted {
	return before(attacks, func(h hostile) bool {
		if !h.ready() {
			return false
		}
		h.answer("false")
		return h.asked()
	})
}

func (h hostile) asked() bool {
	_, err := h.backend.Receive()
	return err == nil
}

func before(attacks []scripted, honest func(h hostile) bool) []scripted {
	result := make([]scripted, 0, len(attacks))
	for _, attack := range attacks {
		script := attack.script
		attack.script = func(h hostile) {
			if honest(h) {
				script(h)
			}
		}
		result = append(result, attack)
	}
	return result
}
