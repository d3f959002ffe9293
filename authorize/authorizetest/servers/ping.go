package servers

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// ping checks whether the server accepts requests.
func (e Endpoint) ping(ctx context.Context) error {
	conn, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	switch e.Protocol {
	case ProtocolRedis:
		_, err = redisCommand(conn, "PING") // -LOADING while it reads its data
	case ProtocolPostgreSQL:
		err = postgresHello(conn)
	case ProtocolMySQL:
		err = mysqlHello(conn)
	default:
		err = fmt.Errorf("the protocol %q is not known", e.Protocol)
	}
	return err
}

// dial opens a connection on which nothing blocks for longer than two seconds.
func (e Endpoint) dial(ctx context.Context) (net.Conn, error) {
	deadline := time.Now().Add(2 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.DialContext(ctx, e.Network, e.Address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}

// redisCommand sends a command and returns its reply: a line, a number or a
// string. A reply of another kind is an error, and so is an error reply.
func redisCommand(conn net.Conn, words ...string) (string, error) {
	request := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	answer := bufio.NewReader(conn)
	line, err := answer.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '$':
		length, err := strconv.Atoi(line[1:])
		if err != nil || length < 0 {
			return "", err
		}
		text := make([]byte, length)
		_, err = io.ReadFull(answer, text)
		return string(text), err
	}
	return "", errors.New(line)
}

// postgresHello logs in and waits for ReadyForQuery. It skips the messages before it. A
// server that is starting, for instance, sends an error instead.
func postgresHello(conn net.Conn) error {
	const parameters = "user\x00postgres\x00database\x00postgres\x00\x00"
	hello := binary.BigEndian.AppendUint32(nil, uint32(8+len(parameters)))
	hello = binary.BigEndian.AppendUint32(hello, 3<<16) // version 3.0
	if _, err := conn.Write(append(hello, parameters...)); err != nil {
		return err
	}
	for {
		kind, body, err := postgresMessage(conn)
		switch {
		case err != nil:
			return err
		case kind == 'E':
			return fmt.Errorf("the server says %q", body)
		case kind == 'Z':
			_, err := conn.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
			return err
		}
	}
}

// postgresMessage reads one message: its kind and what is in it.
func postgresMessage(conn net.Conn) (kind byte, body []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint32(header[1:])) - 4
	if length < 0 || length > 1<<20 {
		return 0, nil, fmt.Errorf("a message of %d bytes: this is not PostgreSQL", length)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(conn, body)
	return header[0], body, err
}

// mysqlHello reads the handshake, with which the server speaks first.
func mysqlHello(conn net.Conn) error {
	packet, err := mysqlPacket(conn)
	if err == nil && (len(packet) == 0 || packet[0] != 10) { // version of the protocol; 255 is an error
		err = fmt.Errorf("the server says %q", packet)
	}
	return err
}

// mysqlPacket reads one packet.
func mysqlPacket(conn net.Conn) ([]byte, error) {
	var header [4]byte // three bytes length, the lowest first, and a number
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, int(header[0])|int(header[1])<<8|int(header[2])<<16)
	_, err := io.ReadFull(conn, packet)
	return packet, err
}
