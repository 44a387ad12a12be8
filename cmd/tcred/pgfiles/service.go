package pgfiles

import (
	"fmt"
	"regexp"
	"strings"
)

// Service is a section of the connection service file.
type Service struct {
	// Name is how clients ask for it: psql service=<Name>.
	Name string
	// Tenant is the ID of the tenant that the section is for; it stands in a comment.
	Tenant string
	// Settings are libpq's connection parameters, in the order in which they are written. The password is none of them.
	Settings []Setting
}

// Setting is one connection parameter.
type Setting struct{ Name, Value string }

// longestLine is what libpq reads of a line of the service file (fe-connect.c, parseServiceFile: a buffer of 1,024 bytes).
const longestLine = 1000

var serviceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

// CheckName says why a service cannot have the name.
func CheckName(name string) error {
	if !serviceName.MatchString(name) {
		return fmt.Errorf("a service's name has letters, digits, '_', '.' and '-', and 63 characters at most: %q", name)
	}
	return nil
}

// PutService returns the file with the section in it: in the place of the one of that name, or at the end. ErrForeign: the one of that name is not
// of tcred and this tenant, and force does not say that it may be replaced.
func PutService(content []byte, s Service, force bool) ([]byte, error) {
	section, err := s.lines()
	if err != nil {
		return nil, err
	}
	all := lines(content)
	from, to, exists := find(all, s.Name)
	if !exists {
		if len(all) > 0 {
			section = append([]string{"\n"}, section...)
		}
		return insert(all, len(all), section...), nil
	}
	if !force && !isOf(all[from:to], s.Tenant) {
		return nil, ErrForeign
	}
	rest := append(append([]string{}, all[:from]...), all[to:]...)
	return insert(rest, from, section...), nil
}

// CheckService says whether PutService would replace the section of that name without force.
func CheckService(content []byte, name, tenant string) error {
	all := lines(content)
	if from, to, exists := find(all, name); exists && !isOf(all[from:to], tenant) {
		return ErrForeign
	}
	return nil
}

func (s Service) lines() ([]string, error) {
	if err := CheckName(s.Name); err != nil {
		return nil, err
	}
	section := []string{"[" + s.Name + "]\n", markOf(s.Tenant, " The next --save replaces this section.")}
	for _, setting := range s.Settings {
		if err := plain(setting.Name, setting.Value); err != nil {
			return nil, err
		}
		line := setting.Name + "=" + setting.Value
		// libpq reads a value to the end of its line and drops the white space there; it knows no quoting.
		if strings.TrimSpace(line) != line || len(line) > longestLine {
			return nil, fmt.Errorf("the %s cannot stand in a service file", setting.Name)
		}
		section = append(section, line+"\n")
	}
	return section, nil
}

// find returns the lines [from, to) of the first section of that name, the only one that libpq reads. A section ends with its last setting: the
// comments and empty lines before the next one belong to that.
func find(all []string, name string) (from, to int, exists bool) {
	for i, line := range all {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			if exists {
				return from, to, true
			}
			if exists = strings.HasPrefix(line, "["+name+"]"); exists {
				from, to = i, i+1
			}
		case exists && line != "" && (line[0] != '#' || markedFor(line) != ""):
			to = i + 1
		}
	}
	return from, to, exists
}

func isOf(section []string, tenant string) bool {
	return len(section) > 1 && markedFor(section[1]) == tenant
}
