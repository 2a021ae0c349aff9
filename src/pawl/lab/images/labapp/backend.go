package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// patience is how long one request waits for redis to come back before it fails.
const patience = 8 * time.Second

// redis speaks as much RESP2 as the backend needs: commands as arrays of bulk strings, replies of
// the kinds simple string, error, integer and bulk string.
type redis struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialRedis(ctx context.Context) (*redis, error) {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", os.Getenv("REDIS"))
	if err != nil {
		return nil, err
	}
	return &redis{conn, bufio.NewReader(conn)}, nil
}

func (r *redis) do(args ...string) (string, error) {
	r.conn.SetDeadline(time.Now().Add(2 * time.Second))
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(r.conn, out.String()); err != nil {
		return "", err
	}
	line, err := r.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case line == "":
		return "", errors.New("redis: empty reply")
	case line[0] == '+' || line[0] == ':':
		return line[1:], nil
	case line[0] == '-':
		return "", errors.New("redis: " + line[1:])
	case line[0] == '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return "", err
		}
		body := make([]byte, n+2)
		_, err = io.ReadFull(r.in, body)
		return string(body[:max(0, len(body)-2)]), err
	}
	return "", fmt.Errorf("redis: reply %q is of no known kind", line)
}

// backendHandler counts requests in redis. Idle connections wait in a small pool; a broken one is
// thrown away and the command is repeated until patience ends.
func backendHandler() http.Handler {
	pool := make(chan *redis, 8)
	command := func(ctx context.Context, args ...string) (string, error) {
		var conn *redis
		select {
		case conn = <-pool:
		default:
			var err error
			if conn, err = dialRedis(ctx); err != nil {
				count("redis_errors_total", 1)
				return "", err
			}
			count("redis_connections_opened_total", 1)
		}
		began := time.Now()
		value, err := conn.do(args...)
		count("redis_commands_processed_total", 1)
		count("redis_commands_duration_seconds_total", time.Since(began).Seconds())
		if err != nil {
			count("redis_errors_total", 1)
			conn.conn.Close()
			return "", err
		}
		select {
		case pool <- conn:
		default:
			conn.conn.Close()
		}
		return value, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		for {
			count, err := command(ctx, "INCR", "requests")
			if err == nil {
				reply(w, http.StatusOK, map[string]any{
					"pod": os.Getenv("POD"), "node": os.Getenv("NODE"), "count": count,
				})
				return
			}
			select {
			case <-ctx.Done():
				reply(w, http.StatusServiceUnavailable, map[string]any{"error": err.Error()})
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
}
