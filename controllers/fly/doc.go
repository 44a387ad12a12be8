// Package fly sets app secrets at Fly.io and moves an app's Machines to them.
//
// Requests are built by fly-go (paths, authorization) and sent by an HTTP client of this package: fly-go's own client sends
// a POST again after a lost answer, hides Retry-After, and drops fields of a Machine's config that it does not know.
//
// Every error is a failure.Error. None holds a token, a secret's value, or a request or response body.
package fly
