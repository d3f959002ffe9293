package cimd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 4

// refusedAddress is the error for an address that nobody outside may make us talk to.
type refusedAddress struct{ addr netip.Addr }

func (e refusedAddress) Error() string {
	return fmt.Sprintf("%s is a special-use or private address", e.addr)
}

// dialer connects to public addresses alone. A name is resolved here, so that what was
// checked is what is connected to, whatever the name resolves to later.
type dialer struct {
	loopback bool          // the issuer is on loopback, so documents may be
	timeout  time.Duration // of all of it: http.Transport goes on when the request has ended
	lookup   func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// newDialer checks the address once more when the socket is there.
func newDialer(loopback bool, timeout time.Duration) *dialer {
	d := &dialer{loopback: loopback, timeout: timeout, lookup: net.DefaultResolver.LookupNetIP}
	control := func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err == nil {
			err = d.check(to.Addr())
		}
		return err
	}
	d.dial = (&net.Dialer{ControlContext: control, KeepAliveConfig: net.KeepAliveConfig{Enable: false}}).DialContext
	return d
}

// DialContext is for http.Transport. A name of which one address is refused is refused.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if err := d.check(addr); err != nil {
			return nil, err
		}
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	err = errors.New("the name has no address")
	for i, addr := range addrs {
		var conn net.Conn
		conn, err = d.try(ctx, network, net.JoinHostPort(addr.String(), port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := d.lookup(ctx, "ip", host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap() // resolvers may give IPv4 addresses in either form
	}
	return addrs, err
}

// try gives an address its share of the time that is left, so that one that is silent
// leaves some for the next.
func (d *dialer) try(ctx context.Context, network, address string, left int) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	defer cancel()
	return d.dial(ctx, network, address)
}

func (d *dialer) check(addr netip.Addr) error {
	if d.loopback && addr.Unmap().IsLoopback() && addr.Zone() == "" || public(addr) {
		return nil
	}
	return refusedAddress{addr}
}

// public reports whether an address is neither of special use (RFC 6890 and the IANA
// registries that it began) nor private. Of IPv6 that is global unicast without the parts
// that are of special use or have an IPv4 address inside, and NAT64 to public IPv4.
func public(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	inside := func(p netip.Prefix) bool { return p.Contains(addr) }
	if addr.Is4() {
		return !slices.ContainsFunc(special4, inside)
	}
	return globalUnicast.Contains(addr) && !slices.ContainsFunc(special6, inside)
}

var (
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	globalUnicast = netip.MustParsePrefix("2000::/3")

	special4 = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
		"192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // public, but where a large cloud answers its own machines
	)
	special6 = prefixes(
		"2001::/23",         // IETF protocol assignments, Teredo among them
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	)
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
