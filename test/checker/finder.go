package checker

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// shortest is the length in bytes below which a secret is not searched for: it would be found anywhere.
const shortest = 8

// finder searches for many secrets at once, each in every form in which it could have been written down.
type finder struct {
	heads   []uint64            // a bit for each hash of a pattern's first four bytes: most of a text is passed over by it
	byHead  map[uint32][]needle // by the first four bytes
	longest int
	buffer  []byte // of read: most files of a database are far smaller
}

type needle struct {
	pattern []byte
	secret  int
}

const headBits = 20

func newFinder(secrets []string) *finder {
	f := &finder{heads: make([]uint64, 1<<headBits/64), byHead: map[uint32][]needle{}}
	for i, s := range secrets {
		if len(s) < shortest {
			continue
		}
		for _, form := range forms(s) {
			f.add(form, i)
		}
	}
	f.buffer = make([]byte, max(1<<20, 2*f.longest))
	return f
}

func (f *finder) add(pattern string, secret int) {
	head := binary.LittleEndian.Uint32([]byte(pattern))
	bit := hash(head)
	f.heads[bit/64] |= 1 << (bit % 64)
	f.byHead[head] = append(f.byHead[head], needle{[]byte(pattern), secret})
	f.longest = max(f.longest, len(pattern))
}

func hash(head uint32) uint32 { return head * 2654435761 >> (32 - headBits) } // Knuth's multiplicative hashing

// forms are the secret itself, in a URL, in JSON, in hexadecimal, as Go prints a slice of bytes, in the rows of a hex dump, and in base64
// at each of the three places at which it can begin.
func forms(secret string) []string {
	plain := []byte(secret)
	found := []string{secret, hex.EncodeToString(plain), strings.ToUpper(hex.EncodeToString(plain)), numbers(plain, " "), numbers(plain, ",")}
	quoted, _ := json.Marshal(secret) // a string always can be marshalled
	for _, escaped := range []string{url.QueryEscape(secret), url.PathEscape(secret), string(quoted[1 : len(quoted)-1])} {
		if escaped != secret {
			found = append(found, escaped)
		}
	}
	for i := range len(plain) - dumped + 1 {
		found = append(found, fmt.Sprintf("% x", plain[i:i+dumped]))
	}
	for skipped := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", skipped) + secret))
		// The first characters mix with what stands before, the last ones with what follows.
		whole := (skipped + len(secret)) * 8 / 6
		inner := encoded[(skipped*8+5)/6 : whole]
		found = append(found, inner)
		if safe := strings.NewReplacer("+", "-", "/", "_").Replace(inner); safe != inner {
			found = append(found, safe)
		}
	}
	return found
}

// dumped is how many bytes of a hex dump stand side by side without a gap, wherever its rows begin.
const dumped = 8

func numbers(plain []byte, separator string) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(plain), " ", separator), "[]")
}

// in marks the secrets that stand in a text.
func (f *finder) in(text []byte, found map[int]bool) {
	for i := 0; i+4 <= len(text); i++ {
		head := binary.LittleEndian.Uint32(text[i:])
		bit := hash(head)
		if f.heads[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		for _, n := range f.byHead[head] {
			if !found[n.secret] && bytes.HasPrefix(text[i:], n.pattern) {
				found[n.secret] = true
			}
		}
	}
}

// read marks the secrets that stand in a stream of any length. It reads one stream at a time.
func (f *finder) read(r io.Reader, found map[int]bool) error {
	buffer := f.buffer
	kept := 0 // bytes at the buffer's beginning that may be the beginning of a secret
	for {
		n, err := io.ReadFull(r, buffer[kept:])
		text := buffer[:kept+n]
		f.in(text, found)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buffer, text[len(text)-min(len(text), max(f.longest-1, 0)):])
	}
}
