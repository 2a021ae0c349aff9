package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// drain is how long the server goes on accepting after SIGTERM: Services learn only some moments
// later that the pod is leaving. It must stay below the pod's grace period.
func drain() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("DRAIN")); err == nil {
		return d
	}
	return 5 * time.Second
}

// serve runs handler on :8080 with /healthz (alive), /readyz (not leaving), /echo (a websocket) and
// /metrics, and ends gracefully.
func serve(handler http.Handler) {
	var leaving atomic.Bool
	left := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() {
			http.Error(w, "leaving", http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("/metrics", tellMetrics)
	mux.Handle("/fault", &fault)
	mux.Handle("/echo", echo(left))
	handler = measured(handler)
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if leaving.Load() {
			// Kept connections must move to another pod while this one still answers.
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	}))
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
		leaving.Store(true)
		close(left)
		time.Sleep(drain())
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			log.Print("shutdown: ", err)
		}
		close(done)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-done
}

func reply(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// webHandler is the replicated HTTP application: it says which pod and node answered.
func webHandler() http.Handler {
	var served atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{
			"pod": os.Getenv("POD"), "node": os.Getenv("NODE"), "served": served.Add(1),
		})
	})
}
