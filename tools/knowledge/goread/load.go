// Loading: packages are parsed and type-checked from source, straight out of module directories,
// without building anything and without any dependency outside them.
//
// A package that is not wanted (or not there) is replaced by an empty one, and type errors are
// ignored: what was resolved is right, what was not resolved stays unknown. That is enough to
// follow `s.Etcd.AddFlags(fs)` to the method it calls and `genericfeatures.X` to its name, and it
// takes seconds where a build takes minutes.
package main

import (
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// wanted names the packages worth reading: where options, defaults, gates and names live.
var wanted = regexp.MustCompile(`(^|/)(options|config|configs|app|apis|flags?|cliflag|globalflag|verflag|` +
	`logs|api|metrics|version|features?|featuregate|tracing|compatibility|klog|klogflags|` +
	`leaderelection|defaults|names|v1|v1alpha\d|v1beta\d|admission|server|egressselector|` +
	`authenticator|modes|encryptionconfig|term|webhook|ports|proxy|kubelet|zpages|embed|etcdmain|` +
	`cluster|qos|types|rest|storage|controlplane|master|kubeapiserver|validating|mutating|` +
	`lifecycle|resourcequota|wellknownports|serverversion|generic|plugin|initializer|` +
	`registry|tls|cert|net|authorizer|cloudprovider|volume|scheduler|apiserver|util)(/|$)`)

// never names generated trees that are big and hold nothing that is asked for here.
var never = regexp.MustCompile(`client-go/(kubernetes|informers|listers|applyconfigurations|dynamic|discovery)` +
	`|/(clientset|informers|listers|openapi|testing|generated|fake|internalversion)(/|$)`)

type pkg struct {
	path  string
	dir   string
	files []*ast.File
	types *types.Package
	info  *types.Info
}

type loader struct {
	roots map[string]string // import path prefix -> directory
	order []string          // prefixes, longest first
	fset  *token.FileSet
	done  map[string]*pkg
	empty map[string]*types.Package
	tags  build.Context
	// alone: type-check a package without its imports. Enough where only its own constants and the
	// shape of its declarations count.
	alone bool
}

func newLoader(roots map[string]string) *loader {
	l := &loader{roots: roots, fset: token.NewFileSet(), done: map[string]*pkg{}, empty: map[string]*types.Package{}}
	for prefix := range roots {
		l.order = append(l.order, prefix)
	}
	sort.Slice(l.order, func(i, j int) bool { return len(l.order[i]) > len(l.order[j]) })
	l.tags = build.Default
	l.tags.GOOS, l.tags.GOARCH, l.tags.CgoEnabled = "linux", "amd64", false
	return l
}

func (l *loader) dir(path string) string {
	for _, prefix := range l.order {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return filepath.Join(l.roots[prefix], strings.TrimPrefix(path, prefix))
		}
	}
	if path == "time" || path == "math" {
		return filepath.Join(build.Default.GOROOT, "src", path)
	}
	return ""
}

// Import makes loader a types.Importer: the real package where it is wanted, an empty one elsewhere.
func (l *loader) Import(p string) (*types.Package, error) {
	if p == "unsafe" {
		return types.Unsafe, nil
	}
	if dir := l.dir(p); dir != "" && !l.alone && !never.MatchString(p) && (wanted.MatchString(p) || p == "time" || p == "math") {
		if got := l.load(p); got != nil {
			return got.types, nil
		}
	}
	if l.empty[p] == nil {
		base := path.Base(p)
		if regexp.MustCompile(`^v\d+$`).MatchString(base) {
			base = path.Base(path.Dir(p))
		}
		l.empty[p] = types.NewPackage(p, strings.ReplaceAll(strings.TrimPrefix(base, "go-"), "-", "_"))
		l.empty[p].MarkComplete()
	}
	return l.empty[p], nil
}

func (l *loader) load(p string) *pkg {
	if got, ok := l.done[p]; ok {
		if got != nil && got.types == nil { // an import cycle, which Go forbids: only by mistake
			return nil
		}
		return got
	}
	l.done[p] = nil
	dir := l.dir(p)
	names, err := os.ReadDir(dir)
	if dir == "" || err != nil {
		return nil
	}
	got := &pkg{path: p, dir: dir, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
		Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	for _, entry := range names {
		name := entry.Name()
		if entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if ok, err := l.tags.MatchFile(dir, name); err != nil || !ok {
			continue
		}
		if file, err := parser.ParseFile(l.fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution); err == nil {
			got.files = append(got.files, file)
		}
	}
	if len(got.files) == 0 {
		return nil
	}
	conf := types.Config{Importer: l, Error: func(error) {}, IgnoreFuncBodies: p == "time" || p == "math", FakeImportC: true}
	got.types, _ = conf.Check(p, l.fset, got.files, got.info)
	l.done[p] = got
	return got
}

// text is the string value of a constant expression, and whether it is one.
func (p *pkg) text(e ast.Expr) (string, bool) {
	if tv, ok := p.info.Types[e]; ok && tv.Value != nil && tv.Value.Kind() == constant.String {
		return constant.StringVal(tv.Value), true
	}
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		return constant.StringVal(constant.MakeFromLiteral(lit.Value, token.STRING, 0)), true
	}
	return "", false
}
