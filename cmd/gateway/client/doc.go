// Package client has the endpoint's requests and answers as Go types, for programs that call it. They are generated from the contract
// (cmd/gateway/openapi/openapi.yaml).
package client

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml ../openapi/openapi.yaml
