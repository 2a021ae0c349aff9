package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// families is what /metrics tells, in Prometheus' text format (version 0.0.4), with the names that
// are usual for each. The redis ones are as this pod, a client, sees them.
var families = []struct{ name, kind string }{
	{"http_requests_total", "counter"},
	{"http_request_duration_seconds", "histogram"},
	{"redis_commands_processed_total", "counter"},
	{"redis_commands_duration_seconds_total", "counter"},
	{"redis_connections_opened_total", "counter"},
	{"redis_errors_total", "counter"},
	{"websocket_connections", "gauge"},
	{"websocket_connections_total", "counter"},
	{"websocket_messages_total", "counter"},
	{"websocket_errors_total", "counter"},
}

// buckets are the upper bounds of the latency histogram in seconds: client_golang's default ones.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

var counted = struct {
	sync.Mutex
	values map[string]float64
}{values: map[string]float64{}}

// count adds to one series, written as /metrics shows it: `http_requests_total{code="200"}`.
func count(series string, by float64) {
	counted.Lock()
	defer counted.Unlock()
	counted.values[series] += by
}

// answered counts one HTTP request.
func answered(status int, took time.Duration) {
	seconds := took.Seconds()
	count(fmt.Sprintf("http_requests_total{code=\"%d\"}", status), 1)
	for _, bound := range buckets {
		by := 0.0
		if seconds <= bound {
			by = 1
		}
		count(fmt.Sprintf("http_request_duration_seconds_bucket{le=\"%g\"}", bound), by)
	}
	count("http_request_duration_seconds_bucket{le=\"+Inf\"}", 1)
	count("http_request_duration_seconds_sum", seconds)
	count("http_request_duration_seconds_count", 1)
}

func tellMetrics(w http.ResponseWriter, _ *http.Request) {
	counted.Lock()
	defer counted.Unlock()
	series := make([]string, 0, len(counted.values))
	for name := range counted.values {
		series = append(series, name)
	}
	slices.Sort(series)
	var out strings.Builder
	for _, family := range families {
		fmt.Fprintf(&out, "# TYPE %s %s\n", family.name, family.kind)
		for _, name := range series {
			base, _, _ := strings.Cut(name, "{")
			if family.kind == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					base = strings.TrimSuffix(base, suffix)
				}
			}
			if base == family.name {
				fmt.Fprintf(&out, "%s %g\n", name, counted.values[name])
			}
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	w.Write([]byte(out.String()))
}

// statusKeeper remembers the status that a handler sends. It can be hijacked, as websockets are.
type statusKeeper struct {
	http.ResponseWriter
	status int
}

func (k *statusKeeper) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

func (k *statusKeeper) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	k.status = http.StatusSwitchingProtocols
	return http.NewResponseController(k.ResponseWriter).Hijack()
}

// measured counts what handler answers, and what the fault does to it. A connection that became
// a websocket is no request: it may last for hours.
func measured(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		kept := &statusKeeper{w, http.StatusOK}
		if !fault.befalls(kept) {
			handler.ServeHTTP(kept, r)
		}
		if kept.status != http.StatusSwitchingProtocols {
			answered(kept.status, time.Since(began))
		}
	})
}
