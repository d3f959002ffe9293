package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// ProxyTo makes a [Proxy] to a server.
type ProxyTo struct {
	// Endpoint is the server, on a Unix socket or TCP.
	Endpoint Endpoint
	// TCP makes the proxy listen on a port of 127.0.0.1 and not on a Unix socket,
	// however the server is reached.
	TCP bool
}

// Start starts the proxy. The server need not run yet.
func (c ProxyTo) Start() (*Proxy, error) {
	p := &Proxy{to: c.Endpoint, cut: true, links: map[*link]bool{}, open: make(chan struct{})}
	close(p.open)
	var err error
	if !c.TCP {
		if p.dir, err = newDir(); err != nil {
			return nil, fmt.Errorf("servers: %w", err)
		}
	}
	if p.Endpoint, err = newEndpoint(c.Endpoint.Protocol, c.TCP, p.dir); err == nil {
		err = p.Restore()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("servers: %w", err), p.Close())
	}
	return p, nil
}

// Proxy hands connections on to a server, until it is told to break them. It runs
// in the program itself. Its methods may be called by several goroutines at once.
type Proxy struct {
	// Endpoint is where the proxy is reached, in the server's protocol.
	Endpoint

	to  Endpoint
	dir string // of its socket; empty with TCP

	control  sync.Mutex // held by Cut, Restore and Close
	running  sync.WaitGroup
	mu       sync.Mutex // for all below; never held while something blocks
	listener net.Listener
	cut      bool
	closed   bool
	links    map[*link]bool
	open     chan struct{} // closed unless held
	trap     *trap
	taken    int
	lost     int
}

// trap waits for the request whose response must be lost.
type trap struct {
	match  func([]byte) bool
	sprung chan struct{}
}

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	gone           context.Context // done when the link is dropped
	drop           context.CancelFunc
	mu             sync.Mutex
	loses          *trap // the next answer is lost
}

// Cut drops all connections and refuses new ones until Restore, as if the server had
// crashed. After it returns, nothing more is passed on.
func (p *Proxy) Cut() {
	p.control.Lock()
	defer p.control.Unlock()
	p.mu.Lock()
	p.cut = true
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for l := range p.links {
		l.drop()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// Restore ends Cut: new connections are taken again, at the same address. Without
// Cut it does nothing. It fails if the address is taken or the proxy is closed.
func (p *Proxy) Restore() error {
	p.control.Lock()
	defer p.control.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("servers: the proxy is closed")
	}
	if !p.cut {
		return nil
	}
	if p.Network == "unix" {
		_ = os.Remove(p.Address) // left by Cut, so that connections are refused as by a dead server
	}
	listener, err := net.Listen(p.Network, p.Address)
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
		// Started by root, a PgBouncer is another user; the directory keeps out the rest.
		if err := os.Chmod(p.Address, 0o777); err != nil {
			return errors.Join(fmt.Errorf("servers: %w", err), listener.Close())
		}
	}
	p.listener, p.cut = listener, false
	p.running.Add(1)
	go p.accept(listener)
	return nil
}

// Hold stops handing on, in both directions, until Release: connections stay, new
// ones are made, and nothing is answered, as by a server or a network that hangs.
// What is on its way when it is called may still arrive.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // held already
	}
}

// Release ends Hold: what was held is handed on now. Without Hold it does nothing.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// LoseAnswer makes a client lose its connection in the middle of a request. The next
// bytes from a client for which match returns true are passed on to the server. When
// the response begins to arrive, the server has done its work. Then the connection is
// dropped without any byte of the response. Other connections and later requests are
// not affected. The channel is closed when the connection is dropped. A nil match
// accepts the next bytes of any client.
//
// match gets the bytes of one read from a client. For requests of a few kilobytes these
// are one request, or several sent together. match must not call the proxy. Many drivers
// first prepare a statement, or begin a transaction: match the step that counts, such as
// the bytes of a parameter or "COMMIT". A client that sends requests without waiting for
// responses may lose an earlier one. A second call replaces a first that has not matched.
func (p *Proxy) LoseAnswer(match func(request []byte) bool) <-chan struct{} {
	if match == nil {
		match = func([]byte) bool { return true }
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = &trap{match, make(chan struct{})}
	return p.trap.sprung
}

// Log says what the proxy has done, in one line.
func (p *Proxy) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("proxy to %s: %d connections taken, %d answers lost", p.to.Address, p.taken, p.lost)
}

// Close drops all connections and stops listening. Restore then fails.
func (p *Proxy) Close() error {
	p.Cut()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}

func (p *Proxy) accept(listener net.Listener) {
	defer p.running.Done()
	for {
		client, err := listener.Accept()
		if err != nil {
			return // Cut closes it
		}
		gone, drop := context.WithCancel(context.Background())
		l := &link{proxy: p, client: client, gone: gone, drop: drop}
		p.mu.Lock()
		if p.cut {
			drop()
			_ = client.Close()
		} else {
			p.taken++
			p.links[l] = true
			p.running.Add(1)
			go l.run()
		}
		p.mu.Unlock()
	}
}

// run hands on in both directions until one of them ends.
func (l *link) run() {
	defer l.proxy.running.Done()
	defer func() {
		l.drop()
		_ = l.client.Close()
		l.proxy.mu.Lock()
		delete(l.proxy.links, l)
		l.proxy.mu.Unlock()
	}()
	if !l.wait() {
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(l.gone, l.proxy.to.Network, l.proxy.to.Address)
	if err != nil {
		return
	}
	defer server.Close()
	l.server = server
	var pumps sync.WaitGroup
	pumps.Go(l.requests)
	pumps.Go(l.answers)
	<-l.gone.Done()
	_ = l.client.Close()
	_ = server.Close()
	pumps.Wait()
}

// wait waits while the proxy is held. It is false if the link is dropped.
func (l *link) wait() bool {
	l.proxy.mu.Lock()
	open := l.proxy.open
	l.proxy.mu.Unlock()
	select {
	case <-l.gone.Done():
		return false
	case <-open:
		return l.gone.Err() == nil
	}
}

func (l *link) requests() {
	defer l.drop()
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.client.Read(buffer)
		if err != nil || !l.wait() {
			return
		}
		l.watch(buffer[:n])
		if _, err := l.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *link) answers() {
	defer l.drop()
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.server.Read(buffer)
		if err != nil || !l.wait() || l.lose() {
			return
		}
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// watch makes the link lose the next response if the request matches the trap.
func (l *link) watch(request []byte) {
	l.proxy.mu.Lock()
	trap := l.proxy.trap
	if trap == nil || !trap.match(request) {
		trap = nil
	} else {
		l.proxy.trap = nil
	}
	l.proxy.mu.Unlock()
	if trap != nil {
		l.mu.Lock()
		l.loses = trap
		l.mu.Unlock()
	}
}

// lose drops the link if this response must be lost.
func (l *link) lose() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loses == nil {
		return false
	}
	l.drop()
	_ = l.client.Close()
	l.proxy.mu.Lock()
	l.proxy.lost++
	l.proxy.mu.Unlock()
	close(l.loses.sprung)
	return true
}
