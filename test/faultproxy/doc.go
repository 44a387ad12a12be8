// Package faultproxy stands between the operator and what it talks to, and does to a chosen call what networks, servers and kernels
// do: it refuses the call, loses its answer, holds it, or lets something else happen (the kill of the operator, the loss of its
// lease) just before it or just after it. There are proxies for PostgreSQL's wire protocol, for Fly's API and for kube-apiserver.
//
// The work of a process lives outside of it. So its death between two calls is the same as its death before the second one, and
// the calls on the wire are all the points at which it can be made to differ.
package faultproxy
