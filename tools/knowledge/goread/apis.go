// What an API server serves by default, its admission plugins, and kinds of configuration.
package main

import (
	"go/ast"
	"go/constant"
	"go/types"
	"path"
	"sort"
	"strings"
)

type groupVersion struct {
	Group    string `json:"group"`
	Version  string `json:"version"`
	Resource string `json:"resource,omitempty"`
}

type servedAnswer struct {
	On  []groupVersion `json:"on"`
	Off []groupVersion `json:"off"`
}

// served reads DefaultAPIResourceConfigSource and the lists it passes on: EnableVersions,
// EnableResources against DisableVersions, DisableResources.
func served(l *loader, where string) servedAnswer {
	p := l.load(where)
	out := servedAnswer{On: []groupVersion{}, Off: []groupVersion{}}
	if p == nil {
		return out
	}
	lists := map[string]ast.Expr{}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			if g, ok := decl.(*ast.GenDecl); ok {
				for _, s := range g.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
						for i, name := range v.Names {
							lists[name.Name] = v.Values[i]
						}
					}
				}
			}
		}
	}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil || !strings.HasPrefix(f.Name.Name, "Default") || !strings.HasSuffix(f.Name.Name, "APIResourceConfigSource") {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				target := map[string]*[]groupVersion{"EnableVersions": &out.On, "EnableResources": &out.On, "DisableVersions": &out.Off, "DisableResources": &out.Off}[sel.Sel.Name]
				if target == nil {
					return true
				}
				for _, arg := range call.Args {
					*target = append(*target, entries(l, p, file, lists, arg)...)
				}
				return true
			})
		}
	}
	return out
}

func entries(l *loader, p *pkg, file *ast.File, lists map[string]ast.Expr, e ast.Expr) []groupVersion {
	var out []groupVersion
	switch e := e.(type) {
	case *ast.Ident:
		if list, ok := lists[e.Name]; ok {
			return entries(l, p, file, lists, list)
		}
	case *ast.CompositeLit:
		for _, item := range e.Elts {
			out = append(out, entries(l, p, file, lists, item)...)
		}
	case *ast.CallExpr: // SchemeGroupVersion.WithResource("x")
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "WithResource" {
			name, _ := p.text(e.Args[0])
			for _, gv := range entries(l, p, file, lists, sel.X) {
				gv.Resource = name
				out = append(out, gv)
			}
		}
	case *ast.SelectorExpr: // appsv1.SchemeGroupVersion
		if alias, ok := e.X.(*ast.Ident); ok && e.Sel.Name == "SchemeGroupVersion" {
			if imp := importOf(file, alias.Name); imp != "" {
				out = append(out, groupVersion{Group: constText(l, imp, "GroupName"), Version: path.Base(imp)})
			}
		}
	}
	return out
}

func importOf(file *ast.File, alias string) string {
	for _, spec := range file.Imports {
		imp := strings.Trim(spec.Path.Value, `"`)
		if (spec.Name != nil && spec.Name.Name == alias) || (spec.Name == nil && path.Base(imp) == alias) {
			return imp
		}
	}
	return ""
}

// constText reads a string constant of a package, "?" when the package cannot be read.
func constText(l *loader, imp, name string) string {
	p := l.load(imp)
	if p == nil || p.types == nil {
		return "?"
	}
	if c, ok := p.types.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() == constant.String {
		return constant.StringVal(c.Val())
	}
	return "?"
}

type pluginsAnswer struct {
	All   []string `json:"all"`
	OffBy []string `json:"on_by_default"`
}

// plugins reads AllOrderedPlugins and the set that DefaultOffAdmissionPlugins subtracts.
func plugins(l *loader, where string) pluginsAnswer {
	out := pluginsAnswer{All: []string{}, OffBy: []string{}}
	p := l.load(where)
	if p == nil {
		return out
	}
	read := func(e ast.Node, file *ast.File) []string {
		var names []string
		ast.Inspect(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if alias, ok := n.X.(*ast.Ident); ok && strings.Contains(n.Sel.Name, "PluginName") {
					if imp := importOf(file, alias.Name); imp != "" {
						names = append(names, constText(l, imp, n.Sel.Name))
					}
				}
				return false
			case *ast.BasicLit:
				if text, ok := p.text(n); ok {
					names = append(names, text)
				}
			}
			return true
		})
		return names
	}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && v.Names[0].Name == "AllOrderedPlugins" && len(v.Values) == 1 {
						out.All = read(v.Values[0], file)
					}
				}
			case *ast.FuncDecl:
				if d.Name.Name == "DefaultOffAdmissionPlugins" && d.Body != nil {
					out.OffBy = read(d.Body, file)
				}
			}
		}
	}
	sort.Strings(out.OffBy)
	return out
}

type kindsOf struct {
	Package string   `json:"package"`
	Group   string   `json:"group"`
	Version string   `json:"version"`
	Kinds   []string `json:"kinds"`
}

// kinds reads which types each configuration package puts into its scheme.
func kinds(l *loader, paths []string) []kindsOf {
	out := []kindsOf{}
	for _, where := range paths {
		p := l.load(where)
		if p == nil || p.types == nil {
			continue
		}
		set := map[string]bool{}
		for _, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if ok && sel.Sel.Name == "AddKnownTypeWithName" && len(call.Args) == 2 {
					if with, ok := call.Args[0].(*ast.CallExpr); ok && len(with.Args) == 1 {
						if name, ok := p.text(with.Args[0]); ok {
							set[name] = true
						}
					}
				}
				if ok && sel.Sel.Name == "AddKnownTypes" {
					for _, arg := range call.Args {
						if u, ok := arg.(*ast.UnaryExpr); ok {
							if c, ok := u.X.(*ast.CompositeLit); ok {
								if id, ok := c.Type.(*ast.Ident); ok && !strings.HasSuffix(id.Name, "List") {
									set[id.Name] = true
								}
							}
						}
					}
				}
				return true
			})
		}
		if len(set) == 0 {
			continue
		}
		one := kindsOf{Package: where, Group: constText(l, where, "GroupName"), Version: path.Base(where)}
		for k := range set {
			one.Kinds = append(one.Kinds, k)
		}
		sort.Strings(one.Kinds)
		out = append(out, one)
	}
	return out
}
