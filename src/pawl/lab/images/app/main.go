// The lab's workloads in one static program, standard library only.
//
//	app pause     holds a pod's namespaces and reaps orphans
//	app web       an HTTP server that stops as a well-made one does
//	app backend   an HTTP server that counts in redis
//
// On SIGTERM a server answers /readyz with 503 and goes on serving for DRAIN_SECONDS, because
// endpoints leave the proxies' tables only some time after the pod was told to stop; then it
// finishes the requests in flight and exits.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	mode := "web"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "pause":
		pause()
	case "web":
		serve(web{}, func() error { return nil })
	case "backend":
		store := &redis{address: env("REDIS_ADDRESS", "redis:6379")}
		serve(counter{store}, store.ping)
	default:
		log.Fatalf("unknown mode %q: pause, web or backend", mode)
	}
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

// serve runs a handler on LISTEN (default :8080) with /readyz and a graceful end.
func serve(handler http.Handler, healthy func() error) {
	var stopping atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if stopping.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		} else if err := healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		} else {
			fmt.Fprintln(w, "ok")
		}
	})
	server := &http.Server{Addr: env("LISTEN", ":8080"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	drain, err := strconv.ParseFloat(env("DRAIN_SECONDS", "5"), 64)
	if err != nil {
		log.Fatalf("DRAIN_SECONDS: %v", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-signals
		stopping.Store(true)
		time.Sleep(time.Duration(drain * float64(time.Second)))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			log.Printf("shutdown: %v", err)
		}
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-done
}

type web struct{}

func (web) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	name, _ := os.Hostname()
	fmt.Fprintf(w, "hello from %s\n", name)
}

type counter struct{ store *redis }

func (c counter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	value, err := c.store.command("INCR", "requests")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintf(w, "%s\n", value)
}

// redis is a client of one connection that speaks just enough RESP for PING and INCR. A command
// that failed is tried again on a new connection until its deadline, as client libraries do.
type redis struct {
	address string
	mu      sync.Mutex
	conn    net.Conn
	reader  *bufio.Reader
}

func (r *redis) ping() error {
	_, err := r.command("PING")
	return err
}

func (r *redis) command(words ...string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	deadline := time.Now().Add(5 * time.Second)
	for {
		answer, err := r.try(deadline, words)
		if err == nil || time.Now().Add(100*time.Millisecond).After(deadline) {
			return answer, err
		}
		if r.conn != nil {
			r.conn.Close()
			r.conn = nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (r *redis) try(deadline time.Time, words []string) (string, error) {
	if r.conn == nil {
		conn, err := net.DialTimeout("tcp", r.address, time.Second)
		if err != nil {
			return "", err
		}
		r.conn, r.reader = conn, bufio.NewReader(conn)
	}
	if err := r.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	var request strings.Builder
	fmt.Fprintf(&request, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := r.conn.Write([]byte(request.String())); err != nil {
		return "", err
	}
	line, err := r.reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if strings.HasPrefix(line, "-") {
		return "", errors.New(line[1:])
	}
	return strings.TrimLeft(line, "+:"), nil
}
