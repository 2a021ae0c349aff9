package main

import (
	"math/rand"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// fault is what an experiment has ordered for this pod alone:
//
//	POST /fault?errors=0.05&delay=20ms    this share of requests fails, all of them are later
//	POST /fault                           none of that any more
var fault theFault

type theFault struct {
	sync.Mutex
	errors float64
	delay  time.Duration
}

func (f *theFault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		reply(w, http.StatusMethodNotAllowed, map[string]any{"error": "POST /fault?errors=0.05&delay=20ms"})
		return
	}
	errors, delay := 0.0, time.Duration(0)
	var err error
	if text := r.URL.Query().Get("errors"); text != "" {
		errors, err = strconv.ParseFloat(text, 64)
	}
	if text := r.URL.Query().Get("delay"); err == nil && text != "" {
		delay, err = time.ParseDuration(text)
	}
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	f.Lock()
	defer f.Unlock()
	f.errors, f.delay = errors, delay
	reply(w, http.StatusOK, map[string]any{"errors": errors, "delay": delay.String()})
}

// befalls delays a request, or answers it with an error in the handler's place.
func (f *theFault) befalls(w http.ResponseWriter) bool {
	f.Lock()
	errors, delay := f.errors, f.delay
	f.Unlock()
	time.Sleep(delay)
	if rand.Float64() >= errors {
		return false
	}
	reply(w, http.StatusInternalServerError, map[string]any{"error": "an ordered fault"})
	return true
}
