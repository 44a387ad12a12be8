package tenantenvironment

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// unusableTableError says what in the management table keeps every rotation from it.
type unusableTableError struct{ problem string }

func (e *unusableTableError) Error() string { return e.problem }

func checkTable(survey postgres.Survey) error {
	if survey.Problem != "" {
		return &unusableTableError{survey.Problem}
	}
	return nil
}

// tableTrial is what came of trying the management table. Its own controller alone reads and writes it.
type tableTrial struct {
	done    bool
	warning string
}

// tryTable tries the table once per connection, and again while that is refused: each trial costs the table a row version. The row that is tried
// may be the only one that refuses, so what it says is a warning.
func (c *Connection) tryTable(ctx context.Context) (warning string) {
	if c.table.done && c.table.warning == "" {
		return ""
	}
	problem, err := c.Postgres.TryManagement(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("The management table could not be tried", "error", err.Error())
		return c.table.warning
	}
	c.table = tableTrial{done: true, warning: problem}
	return problem
}
