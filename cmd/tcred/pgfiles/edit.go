package pgfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// mode is that of both files: libpq ignores a password file that others may read.
const mode fs.FileMode = 0o600

// longest bounds the files that are read.
const longest = 4 << 20

// lockFile stands beside the file that is changed. It is never removed: two programs could then hold two files of that name.
const lockFile = ".tcred.lock"

// ServiceFile is where libpq looks for services: PGSERVICEFILE, or .pg_service.conf in the home folder.
func ServiceFile() (string, error) { return path("PGSERVICEFILE", ".pg_service.conf") }

// PasswordFile is where libpq looks for passwords: PGPASSFILE, or .pgpass in the home folder.
func PasswordFile() (string, error) { return path("PGPASSFILE", ".pgpass") }

func path(variable, name string) (string, error) {
	if file := os.Getenv(variable); file != "" {
		return filepath.Abs(file)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home folder: %w. To fix: set HOME, or %s", err, variable)
	}
	return filepath.Join(home, name), nil
}

// Read returns what is in a file, nothing where there is none.
func Read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", file)
	}
	content, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(content) > longest {
		err = fmt.Errorf("%s is longer than 4 MiB", file)
	}
	return content, err
}

// Edit replaces a file by what change makes of it, as a whole or not at all, and makes it one that no other user may read. Edits of the same file
// wait for each other. A symbolic link stays one: the file that it leads to is replaced.
func Edit(file string, change func([]byte) ([]byte, error)) error {
	target, err := resolve(file)
	if err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(filepath.Dir(target), lockFile)).Lock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", target, err)
	}
	defer unlock()
	content, err := Read(target)
	if err != nil {
		return err
	}
	changed, err := change(content)
	if err != nil {
		return err
	}
	if info, err := os.Stat(target); err == nil && info.Mode().Perm() == mode && bytes.Equal(content, changed) {
		return nil
	}
	return replace(target, changed)
}

// resolve follows symbolic links. One that leads nowhere is an error: it would be replaced by a file.
func resolve(file string) (string, error) {
	target, err := filepath.EvalSymlinks(file)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return target, err
	}
	if info, err := os.Lstat(file); err == nil && info.Mode()&fs.ModeSymlink != 0 { // else another edit has made it meanwhile
		return "", fmt.Errorf("%s is a symbolic link to a file that does not exist", file)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(file))
	return filepath.Join(folder, filepath.Base(file)), err
}

// replace writes a new file in the same folder and gives it the name, once it is on the disk.
func replace(target string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(target), ".tcred-*") // its mode is 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(content); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), target)
}
