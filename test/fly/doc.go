// Package flyemulator is a stand-in for the parts of Fly.io that the operator and the public CLI use: the Machines REST API and
// the few calls of GraphQL and of the releases API.
//
// It is built to find mistakes rather than to please: it keeps a Machine's config as the raw JSON it was given, so that a client
// that drops a field is found out; its secret versions are odd and above 2^53, so that none survives a float64; a Machine keeps
// the environment it booted with until it is updated; and every answer can be refused, delayed, cut off or lost. Where it is not
// established how Fly behaves, a Switch chooses, and callers are tested both ways.
//
// State lives in memory and ends with the process. The admin API shows secrets in the clear on purpose: it is the vault that tests
// look into, so it must listen on the loopback interface only.
package flyemulator
