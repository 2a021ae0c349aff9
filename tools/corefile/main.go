// Writes the plugin and option table of github.com/coredns/corefile-migration as rows.
//
//	cd tools/corefile && go run . > ../../src/pawl/core/inventory/data/corefile.json
//
// The module keeps one map per CoreDNS release in unexported structs; reflection reads them. A row
// holds for the releases `since` up to `last` in which the same thing is true of a plugin or option.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"

	"github.com/coredns/corefile-migration/migration"
)

const module = "github.com/coredns/corefile-migration"

type release struct {
	Version    string   `json:"version"`
	Kubernetes []string `json:"kubernetes"`
}

type row struct {
	Plugin     string `json:"plugin"`
	Option     string `json:"option"`
	Pattern    bool   `json:"pattern"`
	Status     string `json:"status"`
	Since      string `json:"since"`
	Last       string `json:"last"`
	ReplacedBy string `json:"replaced_by"`
	Note       string `json:"note"`
}

func (r row) same(o row) bool {
	o.Since, o.Last = r.Since, r.Last
	return r == o
}

func less(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range x {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m < n
		}
	}
	return false
}

func text(v reflect.Value, field string) string { return v.FieldByName(field).String() }

func main() {
	all := reflect.ValueOf(migration.Versions)
	var names []string
	for _, key := range all.MapKeys() {
		names = append(names, key.String())
	}
	sort.Slice(names, func(i, j int) bool { return less(names[i], names[j]) })

	var releases []release
	open := map[string]*row{}
	var rows []*row
	for at, version := range names {
		v := all.MapIndex(reflect.ValueOf(version))
		r := release{Version: version, Kubernetes: []string{}}
		for i := 0; i < v.FieldByName("k8sReleases").Len(); i++ {
			r.Kubernetes = append(r.Kubernetes, v.FieldByName("k8sReleases").Index(i).String())
		}
		releases = append(releases, r)
		note := func(plugin, option string, pattern bool, s reflect.Value) {
			now := row{Plugin: plugin, Option: option, Pattern: pattern, Status: text(s, "status"),
				Since: version, Last: version, ReplacedBy: text(s, "replacedBy"), Note: text(s, "additional")}
			key := fmt.Sprint(plugin, "\x00", option, "\x00", pattern)
			if held := open[key]; held != nil && held.same(now) && at > 0 && held.Last == names[at-1] {
				held.Last = version
				return
			}
			fresh := now
			open[key] = &fresh
			rows = append(rows, &fresh)
		}
		plugins := v.FieldByName("plugins")
		for _, key := range plugins.MapKeys() {
			p := plugins.MapIndex(key)
			note(key.String(), "", false, p)
			for _, kind := range []string{"namedOptions", "patternOptions"} {
				for _, option := range p.FieldByName(kind).MapKeys() {
					note(key.String(), option.String(), kind == "patternOptions", p.FieldByName(kind).MapIndex(option))
				}
			}
		}
	}
	sort.SliceStable(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		if a.Plugin != b.Plugin {
			return a.Plugin < b.Plugin
		}
		if a.Option != b.Option {
			return a.Option < b.Option
		}
		return less(a.Since, b.Since)
	})

	source := module
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				source += " " + d.Version + " (Apache-2.0)"
			}
		}
	}
	line := func(v any) string {
		out, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(out)
	}
	fmt.Fprintf(os.Stdout, "{\"source\": %s,\n \"releases\": [\n", line(source))
	for i, r := range releases {
		fmt.Fprintf(os.Stdout, "  %s%s\n", line(r), strings.Repeat(",", min(1, len(releases)-1-i)))
	}
	fmt.Fprint(os.Stdout, " ],\n \"rows\": [\n")
	for i, r := range rows {
		fmt.Fprintf(os.Stdout, "  %s%s\n", line(*r), strings.Repeat(",", min(1, len(rows)-1-i)))
	}
	fmt.Fprint(os.Stdout, " ]}\n")
}
