// Package client has the endpoint's requests and answers as Go types, for programs that call it. They are generated from the contract
// (cmd/gateway/openapi/openapi.yaml).
package client
