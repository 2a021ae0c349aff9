package main

import "time"

// durationText prints nanoseconds as flags print them: 1m0s.
func durationText(nanos int64) string { return time.Duration(nanos).String() }
