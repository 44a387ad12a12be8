package serving

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"
)

// FailedLogins bounds how often an address may present a token that is not accepted. Beyond it a call is refused before the token is looked at, so that a
// flood of bad tokens reaches neither the API server nor an issuer. A token that was accepted lately is looked at all the same: a caller
// that shares an address with a flood, and was there before it, goes on working.
type FailedLogins struct {
	rate  rate.Limit
	burst int
	// limits by address and tokens by hash are bounded in number: the oldest are forgotten.
	mu     sync.Mutex
	limits *cache.LRUExpireCache
	tokens *cache.LRUExpireCache
	salt   [32]byte
}

const (
	mostAddresses  = 16384
	mostTokens     = 16384
	addressMemory  = 10 * time.Minute
	acceptedMemory = 5 * time.Minute
)

// NewFailedLogins allows a burst of failures, and then so many a second.
func NewFailedLogins(perSecond float64, burst int) *FailedLogins {
	f := &FailedLogins{rate: rate.Limit(perSecond), burst: burst, limits: cache.NewLRUExpireCache(mostAddresses), tokens: cache.NewLRUExpireCache(mostTokens)}
	_, _ = rand.Read(f.salt[:]) // never fails
	return f
}

// blocked is how long the address has to wait; 0 = the token is looked at.
func (f *FailedLogins) blocked(address netip.Addr, token string) time.Duration {
	left := f.limit(address).Tokens()
	if left >= 1 {
		return 0
	}
	if _, accepted := f.tokens.Get(f.hash(token)); accepted {
		return 0
	}
	return time.Duration((1 - left) / float64(f.rate) * float64(time.Second))
}

func (f *FailedLogins) failed(address netip.Addr) { f.limit(address).Allow() }

func (f *FailedLogins) succeeded(token string) {
	f.tokens.Add(f.hash(token), struct{}{}, acceptedMemory)
}

// limit is that of an address. Of IPv6 a customer has a whole /64.
func (f *FailedLogins) limit(address netip.Addr) *rate.Limiter {
	key := address
	if address.Is6() && !address.Is4In6() {
		if network, err := address.Prefix(64); err == nil {
			key = network.Addr()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, is := f.limits.Get(key); is {
		return known.(*rate.Limiter) //nolint:errcheck // nothing else is in there
	}
	limiter := rate.NewLimiter(f.rate, f.burst)
	f.limits.Add(key, limiter, addressMemory)
	return limiter
}

// hash stands for a token in memory.
func (f *FailedLogins) hash(token string) [sha256.Size]byte {
	return sha256.Sum256(append(f.salt[:], token...))
}
