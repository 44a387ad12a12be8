package fly

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

var (
	errNotObject = errors.New("not a JSON object")
	errNotArray  = errors.New("not a JSON array")
	errTrailing  = errors.New("something follows the JSON value")
)

// members calls take with each member of an object: its name, spelt exactly, and its value, which ends at object[end]. The object has to be
// valid JSON. Unlike a map or a struct it keeps nothing, however many members there are. An error of take ends it.
func members(object []byte, take func(name string, value []byte, end int) error) error {
	c := cursor{text: object}
	if !c.skip('{') {
		return errNotObject
	}
	for !c.skip('}') {
		name := unquoted(c.value())
		if !c.skip(':') {
			return errNotObject
		}
		value := c.value()
		if len(value) == 0 {
			return errNotObject
		}
		if err := take(name, value, c.at); err != nil {
			return err
		}
		c.skip(',')
	}
	return nil
}

// elements is members for an array.
func elements(array []byte, take func(value []byte) error) error {
	c := cursor{text: array}
	if !c.skip('[') {
		return errNotArray
	}
	for !c.skip(']') {
		value := c.value()
		if len(value) == 0 {
			return errNotArray
		}
		if err := take(value); err != nil {
			return err
		}
		c.skip(',')
	}
	return nil
}

// cursor goes through valid JSON value by value. encoding/json has no way to do so without a copy of each.
type cursor struct {
	text []byte
	at   int
}

// skip goes past white space, and past mark if that is next.
func (c *cursor) skip(mark byte) bool {
	for c.at < len(c.text) && (c.text[c.at] == ' ' || c.text[c.at] == '\t' || c.text[c.at] == '\r' || c.text[c.at] == '\n') {
		c.at++
	}
	if c.at < len(c.text) && c.text[c.at] == mark {
		c.at++
		return true
	}
	return false
}

// value goes past white space and a value, and returns the value: a part of the text. It is empty where there is none.
func (c *cursor) value() []byte {
	c.skip(0)
	start, depth := c.at, 0
	for ; c.at < len(c.text); c.at++ {
		switch c.text[c.at] {
		case '"':
			c.at = endOfString(c.text, c.at)
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 { // the end of a number, or of a word, is the end of what holds it
				return c.text[start:c.at]
			}
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return c.text[start:c.at]
			}
			continue
		default:
			continue
		}
		if depth == 0 && c.at < len(c.text) {
			c.at++
			return c.text[start:c.at]
		}
	}
	c.at = len(c.text) // the text breaks off
	return c.text[start:]
}

// endOfString is where the string that begins at text[at] has its closing quote.
func endOfString(text []byte, at int) int {
	for at++; at < len(text) && text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at
}

// unquoted is a JSON string without its quotes and escapes. Bytes that are not UTF-8 are replaced, as encoding/json does.
func unquoted(quoted []byte) (text string) {
	if len(quoted) >= 2 && bytes.IndexByte(quoted, '\\') < 0 && utf8.Valid(quoted) {
		return string(quoted[1 : len(quoted)-1])
	}
	_ = json.Unmarshal(quoted, &text) // it is one
	return text
}

// ended says whether nothing but white space follows.
func ended(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

// unlessMismatch is err, unless all that it says is that a member has an unexpected type: such a member counts as absent.
func unlessMismatch(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return nil
	}
	return err
}
