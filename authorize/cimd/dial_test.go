package cimd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	oautherr "github.com/usher-auth/usher/errors"
)

// nobody is a network without servers.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody is there")
}

func TestWhichAddressesAreRefused(t *testing.T) {
	for _, c := range []struct {
		rule    string
		refused []string // the first and the last ones
		allowed []string // what is next to them
	}{
		{"this network", []string{"0.0.0.0", "0.255.255.255"}, []string{"1.0.0.0"}},
		{"private 10/8", []string{"10.0.0.0", "10.255.255.255"}, []string{"9.255.255.255", "11.0.0.0"}},
		{"shared by carriers", []string{"100.64.0.0", "100.127.255.255"}, []string{"100.63.255.255", "100.128.0.0"}},
		{"loopback", []string{"127.0.0.0", "127.0.0.1", "127.255.255.255"}, []string{"126.255.255.255", "128.0.0.0"}},
		{"link-local, cloud metadata", []string{"169.254.0.0", "169.254.169.254", "169.254.255.255"}, []string{"169.253.255.255", "169.255.0.0"}},
		{"private 172.16/12", []string{"172.16.0.0", "172.31.255.255"}, []string{"172.15.255.255", "172.32.0.0"}},
		{"protocol assignments", []string{"192.0.0.0", "192.0.0.255"}, []string{"192.0.1.0"}},
		{"documentation", []string{"192.0.2.0", "192.0.2.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255"}, []string{"192.0.3.0", "198.51.101.0", "203.0.114.0"}},
		{"AS112 and AMT", []string{"192.31.196.1", "192.52.193.1", "192.175.48.1"}, []string{"192.31.197.0", "192.52.194.0", "192.175.49.0"}},
		{"6to4 relays", []string{"192.88.99.1"}, []string{"192.88.100.0"}},
		{"private 192.168/16", []string{"192.168.0.0", "192.168.255.255"}, []string{"192.167.255.255", "192.169.0.0"}},
		{"benchmarks", []string{"198.18.0.0", "198.19.255.255"}, []string{"198.17.255.255", "198.20.0.0"}},
		{"multicast and reserved", []string{"224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255"}, []string{"223.255.255.255"}},
		{"a platform address of a cloud", []string{"168.63.129.16"}, []string{"168.63.129.17"}},

		{"IPv6 unspecified and loopback", []string{"::", "::1"}, nil},
		{"IPv6 unique local", []string{"fc00::", "fd00:ec2::254", "fdff:ffff::"}, nil},
		{"IPv6 link-local and site-local", []string{"fe80::1", "febf::1", "fec0::1"}, nil},
		{"IPv6 multicast", []string{"ff00::", "ff02::1"}, nil},
		{"IPv6 discard and segment routing", []string{"100::1", "100:0:0:1::1", "5f00::1"}, nil},
		{"IPv6 documentation", []string{"2001:db8::", "2001:db8:ffff::1", "3fff::1", "3fff:fff::1"}, []string{"2001:db7::1", "2001:db9::1", "3fff:1000::1"}},
		{"IPv6 protocol assignments, Teredo", []string{"2001::1", "2001:0:808:808::1", "2001:1ff::1"}, []string{"2001:200::1"}},
		{"6to4", []string{"2002::1", "2002:a00:1::1", "2002:808:808::1"}, []string{"2003::1"}},
		{"IPv6 AS112", []string{"2620:4f:8000::1"}, []string{"2620:4f:8001::1"}},
		{"IPv4 inside of IPv6", []string{"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8"}, []string{"::ffff:8.8.8.8"}},
		{"NAT64", []string{"64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"}, []string{"64:ff9b::8.8.8.8"}},
		{"NAT64 for local use", []string{"64:ff9b:1::10.0.0.1", "64:ff9b:1::8.8.8.8"}, nil},
		{"a zone", []string{"2606:4700::1%eth0"}, nil},
		{"public", nil, []string{"8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for _, text := range c.refused {
				if public(netip.MustParseAddr(text)) {
					t.Errorf("%s is allowed", text)
				}
			}
			for _, text := range c.allowed {
				if !public(netip.MustParseAddr(text)) {
					t.Errorf("%s is refused", text)
				}
			}
		})
	}
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestWhatANameResolvesToIsCheckedAndDialed(t *testing.T) {
	for _, c := range []struct {
		rule   string
		found  []netip.Addr
		want   string
		dialed []string
	}{
		{"a public address", addrs("8.8.8.8"), "client", []string{"8.8.8.8:443"}},
		{"IPv6", addrs("2606:4700::1111"), "client", []string{"[2606:4700::1111]:443"}},
		{"IPv4 in the form of IPv6", addrs("::ffff:8.8.8.8"), "client", []string{"8.8.8.8:443"}},
		{"a private address", addrs("10.0.0.1"), "unreachable", nil},
		{"a private address in the form of IPv6", addrs("::ffff:10.0.0.1"), "unreachable", nil},
		{"a private address beside a public one", addrs("8.8.8.8", "fd00::1"), "unreachable", nil},
		{"a private address behind many", addrs("8.8.8.1", "8.8.8.2", "8.8.8.3", "8.8.8.4", "8.8.8.5", "10.0.0.1"), "unreachable", nil},
		{"loopback", addrs("127.0.0.1"), "unreachable", nil},
		{"no address", nil, "unreachable", nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := newWorld(t)
			w.addresses = func(string) ([]netip.Addr, error) { return slices.Clone(c.found), nil }
			err := w.want(c.want)
			if c.found == nil && !strings.Contains(err.Error(), "the name has no address") {
				t.Error(err)
			}
			if !slices.Equal(w.dialed, c.dialed) {
				t.Errorf("dialed %q, want %q", w.dialed, c.dialed)
			}
		})
	}
	t.Run("a literal is not looked up", func(t *testing.T) {
		w := newWorld(t)
		for _, host := range []string{"127.0.0.1", "[::1]", "[64:ff9b::7f00:1]", "10.1.2.3:8443"} {
			if c, err := w.get("https://" + host + "/x"); outcome(c, err) != "unreachable" || !strings.Contains(err.Error(), "special-use") {
				t.Errorf("%s: %v", host, err)
			}
		}
		if len(w.dialed) != 0 {
			t.Errorf("dialed %q", w.dialed)
		}
	})
	t.Run("names inside are like those that do not exist", func(t *testing.T) {
		var said []string
		for _, resolve := range []func(string) ([]netip.Addr, error){
			func(string) ([]netip.Addr, error) { return nil, errors.New("no such host") },
			func(string) ([]netip.Addr, error) { return addrs("10.0.0.1"), nil },
		} {
			w := newWorld(t)
			w.addresses = resolve
			var all string
			for range 4 {
				e := oautherr.Of(w.want("unreachable"))
				all += fmt.Sprintln(e.Code, e.Text(), e.RetryAfter)
				w.later(e.RetryAfter)
			}
			said = append(said, all)
		}
		if said[0] != said[1] {
			t.Errorf("they differ:\n%s\n%s", said[0], said[1])
		}
	})
}

// A name may resolve to a public address for a check and to another one for the connection.
func TestRebindingFindsNothing(t *testing.T) {
	w := newWorld(t)
	answers := [][]netip.Addr{addrs("8.8.8.8"), addrs("169.254.169.254")}
	lookups := 0
	w.addresses = func(string) ([]netip.Addr, error) { lookups++; return answers[min(lookups, 2)-1], nil }
	w.want("client")
	if lookups != 1 || !slices.Equal(w.dialed, []string{"8.8.8.8:443"}) {
		t.Errorf("%d lookups, dialed %q", lookups, w.dialed)
	}
	w.later(time.Hour)
	w.want("unreachable") // and what was at hand does not serve
	if lookups != 2 || len(w.dialed) != 1 {
		t.Errorf("%d lookups, dialed %q", lookups, w.dialed)
	}
}

func TestTheNextAddressIsTried(t *testing.T) {
	d := newDialer(false, 5*time.Second)
	d.lookup = func(_ context.Context, network, _ string) ([]netip.Addr, error) {
		if network != "ip" {
			t.Errorf("addresses of %q are looked up", network)
		}
		return addrs("8.8.8.1", "8.8.8.2", "8.8.8.3", "8.8.8.4", "8.8.8.5"), nil
	}
	var dialed []string
	good := ""
	d.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		if address == good {
			return &net.TCPConn{}, nil
		}
		return nil, errors.New("refused")
	}
	for _, c := range []struct {
		rule, good string
		dialed     int
	}{
		{"the first one", "8.8.8.1:1", 1},
		{"the fourth", "8.8.8.4:1", 4},
		{"no more than four", "8.8.8.5:1", 4},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dialed, good = nil, c.good
			_, err := d.DialContext(t.Context(), "tcp", "a.example:1")
			if len(dialed) != c.dialed || (err == nil) != (c.good != "8.8.8.5:1") {
				t.Errorf("dialed %q, %v", dialed, err)
			}
		})
	}
}

// The socket is asked once more, should anything before it be wrong.
func TestTheSocketRefusesToo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = newDialer(false, 5*time.Second).dial(t.Context(), "tcp", listener.Addr().String())
	if refused := (refusedAddress{}); !errors.As(err, &refused) {
		t.Errorf("it is %v", err)
	}
	conn, err := newDialer(true, 5*time.Second).dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatalf("for an issuer on loopback: %v", err)
	}
	conn.Close()
	for _, text := range []string{"10.0.0.1", "169.254.169.254", "::1%lo"} {
		if newDialer(true, 5*time.Second).check(netip.MustParseAddr(text)) == nil {
			t.Errorf("%s is allowed for an issuer on loopback", text)
		}
	}
}
