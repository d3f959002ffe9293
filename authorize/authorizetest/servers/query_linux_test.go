package servers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"testing"
)

// What a test says to a server, in each language as little as it takes.

// query sends a statement and returns the first column of the first row.
func query(t *testing.T, e Endpoint, sql string) string {
	t.Helper()
	conn := dial(t, e)
	answer, err := queryOn(conn, e.Protocol, sql)
	if err != nil {
		t.Fatal(sql, err)
	}
	return answer
}

// dial opens a connection and logs in.
func dial(t *testing.T, e Endpoint) net.Conn {
	t.Helper()
	conn, err := e.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if e.Protocol == ProtocolMySQL {
		err = mysqlLogin(conn)
	} else {
		_, err = conn.Write([]byte("\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"))
		if err == nil {
			_, err = postgresRow(conn)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func queryOn(conn net.Conn, protocol Protocol, sql string) (string, error) {
	if protocol == ProtocolMySQL {
		if err := mysqlSend(conn, 0, "\x03"+sql); err != nil {
			return "", err
		}
		return mysqlRow(conn)
	}
	message := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(5+len(sql)))
	if _, err := conn.Write(append(append(message, sql...), 0)); err != nil {
		return "", err
	}
	return postgresRow(conn)
}

// postgresRow reads up to ReadyForQuery.
func postgresRow(conn net.Conn) (value string, err error) {
	for {
		kind, body, readErr := postgresMessage(conn)
		switch {
		case readErr != nil:
			return "", readErr
		case kind == 'E':
			err = fmt.Errorf("%q", body)
		case kind == 'D' && value == "": // two bytes number of columns, four bytes length of the first
			value = string(body[6:][:binary.BigEndian.Uint32(body[2:])])
		case kind == 'Z':
			return value, err
		}
	}
}

func mysqlSend(conn net.Conn, number byte, text string) error {
	_, err := conn.Write(append([]byte{byte(len(text)), byte(len(text) >> 8), 0, number}, text...))
	return err
}

func mysqlLogin(conn net.Conn) error {
	if _, err := mysqlPacket(conn); err != nil {
		return err
	}
	const flags = 1<<3 | 1<<9 | 1<<15 | 1<<19 // with a database, protocol 4.1, its password, its plugin
	login := binary.LittleEndian.AppendUint32(nil, flags)
	login = binary.LittleEndian.AppendUint32(login, 1<<24)
	login = append(append(login, 33), make([]byte, 23)...)
	if err := mysqlSend(conn, 1, string(login)+"root\x00\x00test\x00mysql_native_password\x00"); err != nil {
		return err
	}
	_, err := mysqlRow(conn)
	return err
}

// mysqlRow reads the answer to a statement: OK, an error, or columns and rows with
// an end after each.
func mysqlRow(conn net.Conn) (string, error) {
	packet, err := mysqlPacket(conn)
	if err != nil || packet[0] == 0 {
		return "", err
	}
	if packet[0] == 0xff {
		return "", errors.New(string(packet))
	}
	var value []byte
	for ends := 0; ends < 2; {
		if packet, err = mysqlPacket(conn); err != nil {
			return "", err
		}
		switch {
		case packet[0] == 0xfe && len(packet) < 9:
			ends++
		case ends == 1 && value == nil:
			value = bytes.Clone(packet[1:][:packet[0]])
		}
	}
	return string(value), nil
}
