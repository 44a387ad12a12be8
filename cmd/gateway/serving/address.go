package serving

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Addresses says where a call comes from: the connection's address, or the one that a trusted proxy names.
type Addresses struct{ trusted []netip.Prefix }

// TrustProxies takes X-Forwarded-For from these networks, a list with commas; "" = from none.
func TrustProxies(networks string) (Addresses, error) {
	var a Addresses
	for network := range strings.SplitSeq(networks, ",") {
		if network = strings.TrimSpace(network); network == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return Addresses{}, fmt.Errorf("--trusted-proxies: %q is no network such as 10.0.0.0/8", network)
		}
		a.trusted = append(a.trusted, prefix)
	}
	return a, nil
}

// of is the last address that is not a trusted proxy's: those before it in X-Forwarded-For may be the client's own invention.
func (a Addresses) of(request *http.Request) netip.Addr {
	connection, err := netip.ParseAddrPort(request.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := connection.Addr().Unmap()
	if !a.trusts(address) {
		return address
	}
	named := strings.Split(strings.Join(request.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(named) {
		next, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return address
		}
		if address = next.Unmap(); !a.trusts(address) {
			return address
		}
	}
	return address
}

func (a Addresses) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(a.trusted, func(network netip.Prefix) bool { return network.Contains(address) })
}
