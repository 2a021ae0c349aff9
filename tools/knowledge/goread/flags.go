// Flags: from a component's own entry points, follow every call that can be resolved, and note each
// registration on the way (`fs.BoolVar(&o.X, "name", o.X, "usage")`, `fs.Var(v, "name", "usage")`,
// MarkDeprecated, MarkHidden, and the helpers by which cAdvisor's and klog's flags are re-registered).
//
// A default is given only where it is certain: a constant, or a field that the constructors and
// defaulting functions of the packages read set to one and the same constant. Otherwise it is null.
package main

import (
	"go/ast"
	"go/constant"
	"go/printer"
	"go/token"
	"go/types"
	"regexp"
	"sort"
	"strings"
)

type flagSpec struct {
	Type       string  `json:"type"`
	Default    *string `json:"default"`
	Deprecated string  `json:"deprecated,omitempty"`
	Hidden     bool    `json:"hidden,omitempty"`
	File       string  `json:"file"`
}

var register = regexp.MustCompile(`^(Bool|Int|Int8|Int16|Int32|Int64|Uint|Uint8|Uint16|Uint32|Uint64|Float32|Float64|String|Duration|StringSlice|StringArray|IntSlice|IPNet|IP|IPMask|IPSlice|Int32Slice|Int64Slice|UintSlice|Func|BoolFunc|StringToString|StringToInt|Count|BoolSlice|DurationSlice|Text)?(Var|VarP|VarPF)$`)
var direct = regexp.MustCompile(`^(Bool|Int|Int32|Int64|Uint|Uint64|Float64|String|Duration|StringSlice|StringArray|IP)P?$`)
var reregister = regexp.MustCompile(`(?i)^(pflag)?register(Deprecated)?$|^addDeprecated`)
var deprecatedUsage = regexp.MustCompile(`^\s*\(?(DEPRECATED|Deprecated)\b`)

// etcd says it in the middle of a usage: "… Deprecated in v3.6 and to be decommissioned in v3.7."
var deprecatedWithin = regexp.MustCompile(`(?i)\bdeprecated (in|since|and|from)\b|\bwill be (removed|decommissioned)\b`)

type walker struct {
	l      *loader
	found  map[string]*flagSpec
	decls  map[*types.Func]decl
	fields map[*types.Var][]value
	byName map[string][]value // Struct.Field of versioned defaults
	loaded map[string]bool
	bound  map[types.Object]string // parameters, as the call in progress gives them
	memo   map[string]bool
	depth  int
	etcd   bool
}

// value is an expression that some constructor gives to a field.
type value struct {
	p *pkg
	e ast.Expr
}

type decl struct {
	p *pkg
	f *ast.FuncDecl
}

func allFlags(l *loader, components []string) map[string]map[string]*flagSpec {
	out := map[string]map[string]*flagSpec{}
	for _, c := range components {
		name, starts, _ := strings.Cut(c, "=")
		w := &walker{l: l, etcd: name == "etcd", found: map[string]*flagSpec{}, decls: map[*types.Func]decl{},
			fields: map[*types.Var][]value{}, byName: map[string][]value{}, loaded: map[string]bool{}, bound: map[types.Object]string{}, memo: map[string]bool{}}
		var roots []decl
		for _, start := range strings.Split(starts, ",") {
			where, fn, _ := strings.Cut(start, ":")
			p := l.load(where)
			if p == nil {
				continue
			}
			if fn == "" { // read for its defaults only
				continue
			}
			for _, file := range p.files {
				for _, d := range file.Decls {
					if f, ok := d.(*ast.FuncDecl); ok && qualified(f) == fn {
						roots = append(roots, decl{p, f})
					}
				}
			}
		}
		w.index()
		for _, r := range roots {
			w.body(r)
		}
		out[name] = w.found
	}
	return out
}

func qualified(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

// index notes where functions are declared, and which constants constructors give to fields.
func (w *walker) index() {
	var paths []string
	for path := range w.l.done {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		p := w.l.done[path]
		if p == nil || p.types == nil || w.loaded[p.path] {
			continue
		}
		w.loaded[p.path] = true
		for _, file := range p.files {
			for _, d := range file.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if fn, ok := p.info.Defs[d.Name].(*types.Func); ok {
						w.decls[fn] = decl{p, d}
					}
					if d.Body != nil && !strings.HasPrefix(d.Name.Name, "NewRecommended") && regexp.MustCompile(`(?i)^(new|default|setdefaults|setrecommended|recommended|applylegacy)`).MatchString(d.Name.Name) {
						w.values(p, d.Body)
					}
				case *ast.GenDecl:
					w.values(p, d)
				}
			}
		}
	}
}

func (w *walker) values(p *pkg, node ast.Node) {
	note := func(v *types.Var, owner string, e ast.Expr) {
		w.fields[v] = append(w.fields[v], value{p, e})
		if owner != "" {
			w.byName[owner+"."+v.Name()] = append(w.byName[owner+"."+v.Name()], value{p, e})
		}
	}
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if id, ok := kv.Key.(*ast.Ident); ok {
						if v, ok := p.info.Uses[id].(*types.Var); ok && v.IsField() {
							note(v, structName(p.info.Types[n].Type), kv.Value)
						}
					}
				}
			}
		case *ast.AssignStmt:
			if len(n.Lhs) == len(n.Rhs) {
				for i, lhs := range n.Lhs {
					if sel, ok := lhs.(*ast.SelectorExpr); ok {
						if s := p.info.Selections[sel]; s != nil {
							if v, ok := s.Obj().(*types.Var); ok && v.IsField() {
								note(v, owner(s), n.Rhs[i])
							}
						}
					}
				}
			}
		}
		return true
	})
}

// owner is the struct that declares a selected field, through whatever embeds it.
func owner(s *types.Selection) string {
	t := s.Recv()
	for _, i := range s.Index()[:len(s.Index())-1] {
		if ptr, ok := t.Underlying().(*types.Pointer); ok {
			t = ptr.Elem()
		}
		st, ok := t.Underlying().(*types.Struct)
		if !ok {
			return ""
		}
		t = st.Field(i).Type()
	}
	return structName(t)
}

func structName(t types.Type) string {
	if t == nil {
		return ""
	}
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}

// render writes a constant expression as text: numbers, strings, booleans, durations, and lists of
// them. Pointers to constants (ptr.To(true), utilpointer.Int32Ptr(5)) are their constant.
func (w *walker) render(p *pkg, e ast.Expr) (string, bool) {
	tv := p.info.Types[e]
	if tv.Value != nil {
		if n, ok := tv.Type.(*types.Named); ok && n.Obj().Name() == "Duration" && tv.Value.Kind() == constant.Int {
			v, _ := constant.Int64Val(tv.Value)
			return durationText(v), true
		}
		switch tv.Value.Kind() {
		case constant.String:
			return constant.StringVal(tv.Value), true
		case constant.Bool, constant.Int:
			return tv.Value.ExactString(), true
		case constant.Float:
			return tv.Value.String(), true
		}
	}
	switch e := e.(type) {
	case *ast.Ident:
		if e.Name == "true" || e.Name == "false" {
			return e.Name, true
		}
		if e.Name == "nil" {
			return "", true
		}
	case *ast.ParenExpr:
		return w.render(p, e.X)
	case *ast.UnaryExpr:
		if e.Op == token.AND {
			return w.render(p, e.X)
		}
	case *ast.CompositeLit:
		if sel, ok := e.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Duration" && len(e.Elts) == 1 {
			if kv, ok := e.Elts[0].(*ast.KeyValueExpr); ok {
				return w.render(p, kv.Value)
			}
		}
		if _, ok := e.Type.(*ast.ArrayType); ok {
			var parts []string
			for _, item := range e.Elts {
				text, ok := w.render(p, item)
				if !ok {
					return "", false
				}
				parts = append(parts, text)
			}
			return "[" + strings.Join(parts, ",") + "]", true
		}
	case *ast.CallExpr:
		name := ""
		switch f := e.Fun.(type) {
		case *ast.SelectorExpr:
			name = f.Sel.Name
		case *ast.Ident:
			name = f.Name
		}
		if len(e.Args) == 1 && (name == "To" || strings.HasSuffix(name, "Ptr") || name == "ParseIPSloppy" || name == "ParseIP" || regexp.MustCompile(`^(Bool|Int|Int32|Int64|String|Float64|int|int32|int64|uint|string)$`).MatchString(name)) {
			return w.render(p, e.Args[0])
		}
	case *ast.SelectorExpr:
		if s := p.info.Selections[e]; s != nil {
			if v, ok := s.Obj().(*types.Var); ok && v.IsField() {
				if text, ok := w.only(w.fields[v]); ok {
					return text, ok
				}
				if e.Sel.Name == "Duration" { // c.SyncFrequency.Duration: look at the outer field
					return w.render(p, e.X)
				}
				return w.only(w.byName[owner(s)+"."+v.Name()])
			}
		} else if e.Sel.Name == "Duration" {
			return w.render(p, e.X)
		}
	}
	return "", false
}

// only is the one constant that all of the values given to a field are, if they are.
func (w *walker) only(given []value) (string, bool) {
	if w.depth > 8 { // a field that is set from itself
		return "", false
	}
	w.depth++
	defer func() { w.depth-- }()
	answer := ""
	for i, v := range given {
		text, ok := w.render(v.p, v.e)
		if !ok || (i > 0 && text != answer) {
			return "", false
		}
		answer = text
	}
	return answer, len(given) > 0
}

func (w *walker) body(d decl) {
	if d.f.Body == nil {
		return
	}
	if text, but, ok := w.allDeprecated(d); ok {
		outer := w.found
		w.found = map[string]*flagSpec{}
		defer func() {
			for name, spec := range w.found {
				if spec.Deprecated == "" && !but[name] {
					spec.Deprecated = text
				}
				outer[name] = spec
			}
			w.found = outer
		}()
	}
	ast.Inspect(d.f.Body, func(n ast.Node) bool {
		if r, ok := n.(*ast.RangeStmt); ok {
			w.ranged(d.p, r)
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if w.registration(d.p, call) {
			return true
		}
		var id *ast.Ident
		switch f := call.Fun.(type) {
		case *ast.SelectorExpr:
			id = f.Sel
		case *ast.Ident:
			id = f
		default:
			return true
		}
		fn, ok := d.p.info.Uses[id].(*types.Func)
		if !ok {
			return true
		}
		w.index()
		for _, next := range w.targets(fn) {
			if !relevant(next.f, id.Name) {
				continue
			}
			key, undo := w.bind(d.p, next, call)
			if !w.memo[key] {
				w.memo[key] = true
				w.body(next)
			}
			undo()
		}
		return true
	})
}

// allDeprecated tells a function that marks every flag of its set, as the kubelet does for those
// that its configuration file has: `fs.VisitAll(func(f *pflag.Flag) { f.Deprecated = text })`, with
// the names of the map that it spares.
func (w *walker) allDeprecated(d decl) (string, map[string]bool, bool) {
	text, spared, found := "deprecated", map[string]bool{}, false
	ast.Inspect(d.f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "VisitAll" || len(call.Args) != 1 {
			return true
		}
		ast.Inspect(call.Args[0], func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == 1 {
				if sel, ok := a.Lhs[0].(*ast.SelectorExpr); ok && sel.Sel.Name == "Deprecated" {
					found = true
				}
			}
			return true
		})
		return true
	})
	if !found {
		return "", nil, false
	}
	ast.Inspect(d.f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if id, ok := n.Lhs[0].(*ast.Ident); ok && id.Name == "deprecated" && len(n.Rhs) == 1 {
				if said, ok := d.p.text(n.Rhs[0]); ok {
					text = firstSentence(said)
				}
			}
		case *ast.CompositeLit:
			if _, ok := n.Type.(*ast.MapType); ok {
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok {
						if name, ok := d.p.text(kv.Key); ok {
							spared[name] = true
						}
					}
				}
			}
		}
		return true
	})
	return text, spared, true
}

// targets are the bodies that a call may reach: the function itself, or, for a method of an
// interface, the methods of that name on the types of the interface's own package.
func (w *walker) targets(fn *types.Func) []decl {
	if d, ok := w.decls[fn]; ok {
		return []decl{d}
	}
	sig, ok := fn.Type().(*types.Signature)
	if !ok || sig.Recv() == nil || fn.Pkg() == nil {
		return nil
	}
	if _, ok := sig.Recv().Type().Underlying().(*types.Interface); !ok {
		return nil
	}
	var out []decl
	for other, d := range w.decls {
		if other.Pkg() == fn.Pkg() && other.Name() == fn.Name() && d.f.Recv != nil {
			out = append(out, d)
		}
	}
	sort.Slice(out, func(i, j int) bool { return qualified(out[i].f) < qualified(out[j].f) })
	return out
}

// bind gives the callee's string parameters the values of this call, so that
// fmt.Sprintf("audit-%s-mode", pluginName) has a name. Returns a key for this way of calling it.
func (w *walker) bind(p *pkg, next decl, call *ast.CallExpr) (string, func()) {
	key := next.p.path + "." + qualified(next.f)
	var names []*ast.Ident
	for _, field := range next.f.Type.Params.List {
		names = append(names, field.Names...)
	}
	old := map[types.Object]string{}
	for i, name := range names {
		obj := next.p.info.Defs[name]
		if obj == nil || i >= len(call.Args) {
			continue
		}
		if before, ok := w.bound[obj]; ok {
			old[obj] = before
		}
		delete(w.bound, obj)
		if text, ok := w.text(p, call.Args[i]); ok {
			w.bound[obj] = text
			key += "|" + text
		}
	}
	// The receiver's own string fields are how some options carry a prefix: told by the caller's.
	key += "|" + receiver(call)
	return key, func() {
		for obj, text := range old {
			w.bound[obj] = text
		}
	}
}

func receiver(call *ast.CallExpr) string {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		return expr(sel.X)
	}
	return ""
}

// text is a constant string, or one that the bound parameters make known.
func (w *walker) text(p *pkg, e ast.Expr) (string, bool) {
	if s, ok := p.text(e); ok {
		return s, true
	}
	switch e := e.(type) {
	case *ast.Ident:
		if obj := p.info.Uses[e]; obj != nil {
			s, ok := w.bound[obj]
			return s, ok
		}
	case *ast.BinaryExpr:
		left, ok := w.text(p, e.X)
		right, ok2 := w.text(p, e.Y)
		if e.Op == token.ADD && ok && ok2 {
			return left + right, true
		}
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sprintf" && len(e.Args) > 1 {
			format, ok := w.text(p, e.Args[0])
			for _, arg := range e.Args[1:] {
				s, fine := w.text(p, arg)
				ok = ok && fine
				format = strings.Replace(format, "%s", s, 1)
			}
			return format, ok && !strings.Contains(format, "%")
		}
	}
	return "", false
}

// relevant keeps the walk on functions that can register flags: those that are given a flag set or
// return one, and those named after flags.
func relevant(f *ast.FuncDecl, name string) bool {
	if strings.Contains(strings.ToLower(name), "flag") {
		return true
	}
	for _, list := range []*ast.FieldList{f.Type.Params, f.Type.Results} {
		if list == nil {
			continue
		}
		for _, field := range list.List {
			if strings.Contains(expr(field.Type), "FlagSet") {
				return true
			}
		}
	}
	return false
}

// ranged handles `for _, f := range cfg.ignored { fs.Var(&flags.IgnoredFlag{Name: f}, f, "") }`.
func (w *walker) ranged(p *pkg, r *ast.RangeStmt) {
	name, ok := r.Value.(*ast.Ident)
	if !ok {
		return
	}
	uses := ""
	ast.Inspect(r.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && register.MatchString(sel.Sel.Name) && len(call.Args) >= 2 {
				if id, ok := call.Args[1].(*ast.Ident); ok && id.Name == name.Name {
					uses = expr(call.Args[0])
				}
			}
		}
		return true
	})
	if uses == "" {
		return
	}
	list := expr(r.X)
	list = list[strings.LastIndex(list, ".")+1:]
	for _, file := range p.files {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok || v.Names[0].Name != list || len(v.Values) != 1 {
					continue
				}
				lit, ok := v.Values[0].(*ast.CompositeLit)
				if !ok {
					continue
				}
				for _, e := range lit.Elts {
					if text, ok := p.text(e); ok {
						spec := &flagSpec{Type: "ignored", File: w.file(p, e)}
						if strings.Contains(uses, "IgnoredFlag") {
							spec.Deprecated = "accepted and ignored"
						}
						w.found[text] = spec
					}
				}
			}
		}
	}
}

func (w *walker) registration(p *pkg, call *ast.CallExpr) bool {
	var method string
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		method = f.Sel.Name
	case *ast.Ident:
		method = f.Name
	default:
		return false
	}
	arg := func(i int) (string, bool) {
		if i >= len(call.Args) {
			return "", false
		}
		text, ok := w.text(p, call.Args[i])
		return strings.ReplaceAll(text, "_", "-"), ok // pflag's WordSepNormalizeFunc
	}
	switch {
	case method == "AddFlag" && len(call.Args) == 1:
		// fs.AddFlag(flag.Lookup(name)): a flag of a library, taken over by name.
		name := ""
		if inner, ok := call.Args[0].(*ast.CallExpr); ok && len(inner.Args) == 1 && strings.HasSuffix(expr(inner.Fun), "Lookup") {
			name, _ = w.text(p, inner.Args[0])
		} else if strings.HasSuffix(receiver(call), "FeatureGate") { // featuregate's own AddFlag(fs)
			name = "feature-gates"
		}
		if name != "" {
			w.found[name] = &flagSpec{Type: "registered elsewhere", File: w.file(p, call)}
			return true
		}
		return false
	case method == "MarkDeprecated" || method == "MarkHidden":
		if name, ok := arg(0); ok {
			spec := w.found[name]
			if spec == nil {
				return true
			}
			if method == "MarkHidden" {
				spec.Hidden = true
			} else if text, ok := w.text(p, call.Args[1]); ok {
				spec.Deprecated = strings.TrimSpace(text)
			} else {
				spec.Deprecated = "deprecated"
			}
		}
		return true
	case reregister.MatchString(method):
		name, ok := arg(2)
		if !ok && len(call.Args) > 2 {
			// A constant of a module that is not read: cadvisorflags.HousekeepingInterval.
			if sel, is := call.Args[2].(*ast.SelectorExpr); is {
				name, ok = kebab(sel.Sel.Name), true
			}
		}
		if ok {
			spec := &flagSpec{Type: "registered elsewhere", File: w.file(p, call)}
			if strings.Contains(method, "eprecated") {
				spec.Deprecated = "deprecated"
				if len(call.Args) > 3 {
					if text, ok := w.text(p, call.Args[3]); ok {
						spec.Deprecated = firstSentence(text)
					}
				}
			}
			w.found[name] = spec
			return true
		}
	case register.MatchString(method):
		if name, ok := arg(1); ok && name != "" {
			w.add(p, call, name, 1, strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(method, "F"), "P"), "Var"), strings.HasSuffix(method, "P"))
			return true
		}
	case direct.MatchString(method) && len(call.Args) >= 3:
		if name, ok := arg(0); ok && name != "" {
			w.add(p, call, name, 0, strings.TrimSuffix(method, "P"), strings.HasSuffix(method, "P"))
			return true
		}
	}
	return false
}

func (w *walker) add(p *pkg, call *ast.CallExpr, name string, at int, kind string, short bool) {
	spec := &flagSpec{Type: kind, File: w.file(p, call)}
	next := at + 1
	if short {
		next++
	}
	if kind == "" {
		spec.Type = "value"
		if c, ok := call.Args[0].(*ast.CallExpr); ok {
			spec.Type = expr(c.Fun)
		}
	} else if next < len(call.Args)-1 {
		if text, ok := w.render(p, call.Args[next]); ok {
			spec.Default = &text
		}
	}
	usage := ""
	ast.Inspect(call.Args[len(call.Args)-1], func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok && usage == "" {
			if text, ok := p.text(e); ok {
				usage = text
				return false
			}
		}
		return usage == ""
	})
	if deprecatedUsage.MatchString(usage) || (w.etcd && deprecatedWithin.MatchString(usage)) {
		spec.Deprecated = firstSentence(usage)
	}
	if old := w.found[name]; old != nil && old.Deprecated != "" && spec.Deprecated == "" {
		spec.Deprecated = old.Deprecated
	}
	w.found[name] = spec
}

func kebab(camel string) string {
	return strings.ToLower(strings.TrimPrefix(regexp.MustCompile(`([A-Z])`).ReplaceAllString(camel, "-$1"), "-"))
}

func firstSentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}

func (w *walker) file(p *pkg, n ast.Node) string {
	name := w.l.fset.Position(n.Pos()).Filename
	return p.path + name[strings.LastIndex(name, "/"):]
}

func expr(e ast.Expr) string {
	var b strings.Builder
	_ = printer.Fprint(&b, token.NewFileSet(), e)
	return b.String()
}
