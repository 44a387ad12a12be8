package connection

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

const whole = "postgresql://tenant_1:p%3Aa%40s%20s@db.example.com:6432/site_1?sslmode=verify-full&options=-c%20a=b&schema=public"

func parsed(t *testing.T, text string) Connection {
	t.Helper()
	c, err := Parse(text)
	require.NoError(t, err)
	return c
}

func TestParse(t *testing.T) {
	c := parsed(t, whole)
	require.Equal(t, [4]string{"db.example.com", "6432", "site_1", "tenant_1"}, [4]string{c.Host, c.Port, c.Database, c.User})
	require.Equal(t, "p:a@s s", c.Password.Reveal())
	kept, left := c.Settings()
	require.Equal(t, [][2]string{
		{"host", "db.example.com"}, {"port", "6432"}, {"dbname", "site_1"}, {"user", "tenant_1"}, {"sslmode", "verify-full"}, {"options", "-c a=b"},
	}, kept)
	require.Equal(t, []string{"schema"}, left)
	require.Equal(t, "5432", parsed(t, "postgres://u:p@h/d").Port)
	require.Equal(t, "::1", parsed(t, "postgres://u:p@[::1]:1/d").Host)
	require.Equal(t, "a+b", parsed(t, "postgres://u:p@h/d?application_name=a+b").parameters[0].value, "a plus sign is no blank")
}

func TestThePasswordIsMasked(t *testing.T) {
	c := parsed(t, whole)
	require.Equal(t, "postgresql://tenant_1:********@db.example.com:6432/site_1?sslmode=verify-full&options=-c%20a%3Db&schema=public", c.String())
	require.Equal(t, Mask, parsed(t, c.String()).Password.Reveal(), "a masked URL can be read")
	text, err := json.Marshal(c)
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %q %x", c, c, c.Password, c.Password), fmt.Sprint(&c), string(text), fmt.Sprint(c.URL())} {
		require.NotContains(t, shown, "p:a")
		require.NotContains(t, shown, "p%3Aa")
	}
}

func TestWhatIsNoURLIsNotRepeated(t *testing.T) {
	for _, text := range []string{
		"", "s3cret", "http://u:s3cret@h/d", "postgres://u:s3cret@h", "postgres://u:s3cret@/d", "postgres://u@h/d", "postgres://:s3cret@h/d", "postgres://h/d",
		"postgres://u:s3cret@h:x/d", "postgres://u:s3cret@h/d#x", "postgres://u:s3cret@h/d?password=s3cret", "postgres://u:s3cret@h/d?host=x",
		"postgres://u:s3cret@h/d?passfile=x", "postgres://u:s3cret@h/d?a=%zz", "postgres://u:s3cret@h/d?a=%0a", "postgres://u:s3cret%0a@h/d", "postgres://u:s3cret@h/d\n",
		"postgres://u:s3cret@h/%1b", "postgres://u:s3cret@\u202eh/d", "postgres://u:s3cret@h/" + strings.Repeat("d", longest),
	} {
		_, err := Parse(text)
		require.ErrorIs(t, err, ErrURL, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestThrough(t *testing.T) {
	c := parsed(t, whole).Through(parsed(t, "postgresql://tenant_1:********@outside:1/site_1?sslmode=require"))
	require.Equal(t, "postgresql://tenant_1:p%3Aa%40s%20s@outside:1/site_1?sslmode=require", c.URL().Reveal())
	require.False(t, c.SameLogin(parsed(t, whole)))
	require.True(t, parsed(t, whole).SameLogin(parsed(t, strings.Replace(whole, "p%3Aa", "other", 1))))
	require.False(t, parsed(t, whole).SameLogin(parsed(t, strings.Replace(whole, "tenant_1", "tenant_1_b", 1))))
}

// This reader and another author's find the same in the URL, and nothing of the password is in the masked one.
func FuzzParse(f *testing.F) {
	f.Add(whole, "s3cret")
	f.Add("postgres://u:p@[::1]/d?a=b", "a:/?#[]@!$&'()*+,;= %")
	f.Fuzz(func(t *testing.T, text, password string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(c.URL().Reveal())
		require.NoError(t, err)
		require.Equal(t, c, again)
		if unprintable(password) || password == "" {
			return
		}
		c.Password = Secret{password}
		require.NotContains(t, c.String(), ":"+url.QueryEscape(password)+"@", "masked") // but for Mask itself
		if c.parameters = nil; len(c.Host+c.Port) > 100 {
			return
		}
		config, err := pgconn.ParseConfig(c.URL().Reveal() + "?sslmode=disable")
		if err != nil { // addresses that neither can connect to, such as port 0
			return
		}
		require.Equal(t, [4]string{c.Host, c.Database, c.User, password}, [4]string{config.Host, config.Database, config.User, config.Password})
	})
}
