// Feature gates: composite literals of FeatureSpec (one stage, up to 1.30) and of VersionedSpecs
// (a stage for each version, from 1.31), keyed by the gate's constant, wherever they stand.
package main

import (
	"go/ast"
	"go/constant"
	"strings"
)

type spec struct {
	Version string `json:"version,omitempty"`
	Stage   string `json:"stage"`
	Default bool   `json:"default"`
	Locked  bool   `json:"locked,omitempty"`
}

type gate struct {
	Name    string `json:"name"`
	Package string `json:"package"`
	Specs   []spec `json:"specs"`
}

func gates(l *loader, paths []string) []gate {
	out := []gate{}
	for _, path := range paths {
		p := l.load(path)
		if p == nil {
			continue
		}
		for _, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				kv, ok := n.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				value, ok := kv.Value.(*ast.CompositeLit)
				if !ok {
					return true
				}
				name, ok := p.text(kv.Key)
				if !ok || name == "" {
					return true
				}
				specs := specsOf(p, value)
				if len(specs) == 0 {
					return true
				}
				out = append(out, gate{Name: name, Package: path, Specs: specs})
				return false
			})
		}
	}
	return out
}

func specsOf(p *pkg, lit *ast.CompositeLit) []spec {
	var specs []spec
	if one, ok := specOf(p, lit); ok {
		return []spec{one}
	}
	for _, e := range lit.Elts {
		inner, ok := e.(*ast.CompositeLit)
		if !ok {
			return nil
		}
		one, ok := specOf(p, inner)
		if !ok {
			return nil
		}
		specs = append(specs, one)
	}
	return specs
}

// specOf reads one FeatureSpec. kubeadm's nest: {FeatureSpec: featuregate.FeatureSpec{…}, …}.
func specOf(p *pkg, lit *ast.CompositeLit) (spec, bool) {
	s, seen := spec{Stage: "GA"}, false
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return s, false
		}
		key, ok := kv.Key.(*ast.Ident)
		if !ok {
			return s, false
		}
		switch key.Name {
		case "Default":
			s.Default, seen = truth(p, kv.Value), true
		case "LockToDefault":
			s.Locked = truth(p, kv.Value)
		case "PreRelease":
			s.Stage, seen = stage(kv.Value), true
		case "Version":
			if call, ok := kv.Value.(*ast.CallExpr); ok && len(call.Args) == 1 {
				s.Version, _ = p.text(call.Args[0])
			}
		case "FeatureSpec":
			if inner, ok := kv.Value.(*ast.CompositeLit); ok {
				return specOf(p, inner)
			}
		}
	}
	return s, seen
}

func truth(p *pkg, e ast.Expr) bool {
	if tv, ok := p.info.Types[e]; ok && tv.Value != nil && tv.Value.Kind() == constant.Bool {
		return constant.BoolVal(tv.Value)
	}
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "true"
}

// stage is the last word of featuregate.Alpha, featuregate.GA, "", …
func stage(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return named(e.Sel.Name)
	case *ast.Ident:
		return named(e.Name)
	case *ast.BasicLit:
		return named(strings.Trim(e.Value, `"`))
	}
	return "GA"
}

func named(word string) string {
	switch strings.ToLower(strings.TrimPrefix(word, "prerelease")) {
	case "alpha":
		return "alpha"
	case "beta":
		return "beta"
	case "deprecated":
		return "deprecated"
	}
	return "GA"
}
