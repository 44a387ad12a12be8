package tenantenvironment

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOneTenantProvesAnAddress(t *testing.T) {
	var c Canary
	require.True(t, c.Try("wrong", "a"))
	require.True(t, c.Try("wrong", "a"), "again")
	require.False(t, c.Free("wrong", "b"))
	require.False(t, c.Try("wrong", "b"))

	require.True(t, c.Try("right", "b"), "another address is another trial")
	require.False(t, c.Free("right", "a"))
	c.Leave("b")
	require.True(t, c.Try("right", "a"), "who gives up makes room")
	c.Prove("right")
	require.True(t, c.Free("right", "b"))
	require.True(t, c.Try("right", "b"))
	require.True(t, c.Try("right", "c"))
	require.False(t, c.Try("wrong", "c"), "a still tries it")
}
