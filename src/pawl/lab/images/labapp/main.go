// One static program for every container of the lab: the pause process, the HTTP application and
// the backend that keeps its counters in redis. Standard library only.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "pause":
		pause()
	case "web":
		serve(webHandler())
	case "backend":
		serve(backendHandler())
	case "discover":
		discover(os.Args[len(os.Args)-1])
	default:
		fmt.Fprintln(os.Stderr, "usage: labapp pause|web|backend|discover FILE")
		os.Exit(2)
	}
}

// pause holds a pod's namespaces and reaps its orphans, as the upstream pause image does.
func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	children := make(chan os.Signal, 8)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-stop:
			return
		case <-children:
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}
