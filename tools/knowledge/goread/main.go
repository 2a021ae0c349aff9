// goread answers, as JSON on stdout, what a Kubernetes or etcd release's source says.
//
//	goread -root k8s.io/kubernetes=/dir -root k8s.io/apiserver=/dir … gates PKG…
//	goread -root … flags NAME=PKG:FUNC,PKG:TYPE.METHOD …
//	goread -root … served PKG
//	goread -root … plugins PKG
//	goread -root … kinds PKG…
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

type rootsFlag map[string]string

func (r rootsFlag) String() string { return "" }
func (r rootsFlag) Set(s string) error {
	prefix, dir, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("want PREFIX=DIR, got %q", s)
	}
	r[prefix] = dir
	return nil
}

func main() {
	roots := rootsFlag{}
	flag.Var(roots, "root", "import path prefix and the directory that holds it: PREFIX=DIR")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: goread -root PREFIX=DIR… gates|flags|served|plugins|kinds ARG…")
		os.Exit(2)
	}
	l := newLoader(roots)
	var answer any
	args := flag.Args()[1:]
	switch verb := flag.Arg(0); verb {
	case "gates":
		answer = gates(l, args)
	case "flags":
		answer = allFlags(l, args)
	case "served":
		l.alone = true
		answer = served(l, args[0])
	case "plugins":
		l.alone = true
		answer = plugins(l, args[0])
	case "kinds":
		l.alone = true
		answer = kinds(l, args)
	default:
		fmt.Fprintf(os.Stderr, "unknown verb %q\n", verb)
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
