package fly

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

var (
	errNotObject = errors.New("not a JSON object")
	errNotArray  = errors.New("not a JSON array")
	errTrailing  = errors.New("something follows the JSON value")
)

// members calls take with each member of a JSON object: its name, spelt exactly, and its value, which ends at object[end]. Unlike a map or
// a struct it keeps nothing, however many members there are. An error of take ends it.
func members(object []byte, take func(name string, value []byte, end int) error) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errNotObject
	}
	var raw json.RawMessage // used anew for each value
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		if err != nil || !isName || d.Decode(&raw) != nil {
			return errNotObject
		}
		end := int(d.InputOffset())
		if err := take(name, object[end-len(raw):end], end); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return errNotObject
	}
	return ended(d)
}

// elements calls take with each element of a JSON array, and keeps none. An error of take ends it.
func elements(array []byte, take func(value []byte) error) error {
	d := json.NewDecoder(bytes.NewReader(array))
	if token, err := d.Token(); err != nil || token != json.Delim('[') {
		return errNotArray
	}
	var raw json.RawMessage
	for d.More() {
		if d.Decode(&raw) != nil {
			return errNotArray
		}
		if err := take(raw); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return errNotArray
	}
	return ended(d)
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
