package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/rand"
	"net"
	"net/http"
	"sync"
	"time"
)

// As much of RFC 6455 as an echo needs: text frames that are not fragmented, ping, close.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10

	goingAway = 1001
	maxFrame  = 1 << 16
	key       = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

type frame struct {
	op   byte
	body []byte
}

func readFrame(in *bufio.Reader) (frame, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil {
		return frame{}, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		long := make([]byte, 2)
		if _, err := io.ReadFull(in, long); err != nil {
			return frame{}, err
		}
		size = int(binary.BigEndian.Uint16(long))
	}
	if head[0]&0x80 == 0 || head[1]&0x80 == 0 || size >= maxFrame {
		return frame{}, errors.New("websocket: a fragment, an unmasked or an overlong frame")
	}
	rest := make([]byte, 4+size)
	if _, err := io.ReadFull(in, rest); err != nil {
		return frame{}, err
	}
	for i := range rest[4:] {
		rest[4+i] ^= rest[i%4]
	}
	return frame{head[0] & 0xf, rest[4:]}, nil
}

func writeFrame(conn net.Conn, f frame) error {
	out := []byte{0x80 | f.op}
	if len(f.body) < 126 {
		out = append(out, byte(len(f.body)))
	} else {
		out = append(out, 126, byte(len(f.body)>>8), byte(len(f.body)))
	}
	conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := conn.Write(append(out, f.body...))
	return err
}

// echo answers every message with itself. When the pod is leaving, each connection is told to go
// (1001) at a moment of its own within half the drain, so that not all clients come back at once
// elsewhere, and what they have sent is still answered.
func echo(leaving <-chan struct{}) http.Handler {
	count("websocket_errors_total", 0) // none so far is something to compare with
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Sec-WebSocket-Key")
		hijacker, ok := w.(http.Hijacker)
		if token == "" || !ok {
			http.Error(w, "not a websocket", http.StatusBadRequest)
			return
		}
		conn, both, err := hijacker.Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		count("websocket_connections_total", 1)
		count("websocket_connections", 1)
		defer count("websocket_connections", -1)
		conn.SetDeadline(time.Time{})
		sum := sha1.Sum([]byte(token + key))
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
			"Connection: Upgrade\r\nSec-WebSocket-Accept: "+
			base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		var turn sync.Mutex
		write := func(f frame) error {
			turn.Lock()
			defer turn.Unlock()
			return writeFrame(conn, f)
		}
		gone := make(chan struct{})
		defer close(gone)
		go func() {
			select {
			case <-gone:
				return
			case <-leaving:
			}
			select {
			case <-gone:
			case <-time.After(time.Duration(rand.Int63n(int64(drain()/2) + 1))):
				write(frame{opClose, binary.BigEndian.AppendUint16(nil, goingAway)})
			}
		}()
		for {
			f, err := readFrame(both.Reader)
			if err != nil {
				count("websocket_errors_total", 1)
				return
			}
			switch f.op {
			case opText:
				count("websocket_messages_total", 1)
				err = write(f)
			case opPing:
				err = write(frame{opPong, f.body})
			case opClose:
				write(f)
				return
			}
			if err != nil {
				return
			}
		}
	})
}
