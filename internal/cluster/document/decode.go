package document

import (
	"fmt"
	"reflect"
	"strings"
)

// Decode fills the struct that into points to from root: first every default,
// then what root says. It reports all problems; into is only to be used when
// there are none. A nil root or one that is Null leaves the defaults.
func Decode(file string, root *Node, into any) *Problems {
	d := &decoder{file: file}
	v := reflect.ValueOf(into).Elem()
	if root == nil {
		root = &Node{Line: 1, Column: 1}
	}
	d.structure(root, v, "")
	return &d.problems
}

// SetDefaults fills the struct that into points to with its defaults.
func SetDefaults(into any) { Decode("", nil, into) }

// completer is a type with defaults that follow from its other fields.
type completer interface{ Complete() }

// decoder fills one value from one tree.
type decoder struct {
	file     string
	problems Problems
}

// fail records that the value n at path is wrong.
func (d *decoder) fail(n *Node, path, text, remedy string) {
	d.problems.Add(Problem{File: d.file, Line: n.Line, Column: n.Column, Path: path, Text: text, Remedy: remedy})
}

// structure decodes a map into a struct.
func (d *decoder) structure(n *Node, v reflect.Value, path string) {
	fields := Fields(v.Type())
	makeEmbedded(v)
	for _, f := range fields {
		setDefault(f, v.FieldByIndex(f.Index))
	}
	if n.Kind != Map && n.Kind != Null {
		d.fail(n, path, "want a map of keys and values, got "+describe(n), "known keys: "+strings.Join(keys(fields), ", "))
		return
	}
	for i, key := range n.Keys {
		f, found := fieldNamed(fields, key.Text)
		if !found {
			d.unknownKey(key, fields, join(path, key.Text))
			continue
		}
		if n.Items[i].Kind != Null { // a key without a value is as good as absent
			d.field(n.Items[i], v.FieldByIndex(f.Index), f, join(path, key.Text))
		}
	}
	for _, f := range fields {
		if f.Required && (n.Get(f.Key) == nil || n.Get(f.Key).Kind == Null) {
			d.fail(n, path, fmt.Sprintf("%q is missing", f.Key), "add it, for example "+f.Key+": "+f.Example)
		}
	}
	if c, ok := v.Addr().Interface().(completer); ok {
		c.Complete()
	}
}

// makeEmbedded makes what embedded pointers point to.
func makeEmbedded(v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous && f.Type.Kind() == reflect.Pointer {
			v.Field(i).Set(reflect.New(f.Type.Elem()))
		}
	}
}

func fieldNamed(fields []Field, key string) (Field, bool) {
	for _, f := range fields {
		if f.Key == key {
			return f, true
		}
	}
	return Field{}, false
}

func (d *decoder) unknownKey(key *Node, fields []Field, path string) {
	known := keys(fields)
	remedy := "known keys here: " + strings.Join(known, ", ")
	if near := Nearest(key.Text, known); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	d.fail(key, path, "unknown key", remedy)
}

// field decodes n into v, the value of field f.
func (d *decoder) field(n *Node, v reflect.Value, f Field, path string) {
	switch {
	case isScalar(v.Type()):
		d.scalar(n, v, f, path)
	case v.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, f, path)
	default:
		panic("BUG: document: field of a type that cannot be written: " + v.Type().String())
	}
}

func (d *decoder) list(n *Node, v reflect.Value, f Field, path string) {
	if n.Kind != List {
		d.fail(n, path, "want a list, got "+describe(n), "write [item, item], or one line \"- item\" for each")
		return
	}
	if most, limited := limit(f.Max); limited && int64(len(n.Items)) > most {
		d.fail(n, path, fmt.Sprintf("%d items are more than the %d allowed", len(n.Items), most), "")
		return
	}
	if least, limited := limit(f.Min); limited && int64(len(n.Items)) < least {
		d.fail(n, path, fmt.Sprintf("want at least %d, got %d", least, len(n.Items)), "")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
	f.Min, f.Max = "", "" // they were about the list
	for i, item := range n.Items {
		d.field(item, v.Index(i), f, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *decoder) scalar(n *Node, v reflect.Value, f Field, path string) {
	if n.Kind != Scalar {
		d.fail(n, path, fmt.Sprintf("want %s, got %s", wanted(f), describe(n)), "")
		return
	}
	if text, remedy := setScalar(v, f, n.Text); text != "" {
		d.fail(n, path, text, remedy)
	}
}

// setDefault gives v, the value of field f, what it has when nobody says more.
func setDefault(f Field, v reflect.Value) {
	v.SetZero()
	switch {
	case !isScalar(v.Type()) && v.Kind() == reflect.Struct:
		(&decoder{}).structure(&Node{}, v, "")
	case f.Default == "":
	case isScalar(v.Type()):
		mustSet(v, f, f.Default)
	default:
		items := strings.Split(f.Default, ",")
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		f.Min, f.Max = "", ""
		for i, item := range items {
			mustSet(v.Index(i), f, item)
		}
	}
}

func mustSet(v reflect.Value, f Field, text string) {
	if problem, _ := setScalar(v, f, text); problem != "" {
		panic("BUG: default of " + f.Owner.Name() + "." + f.GoName + ": " + problem)
	}
}

// describe says what n is, briefly, for a message about what it is not.
func describe(n *Node) string {
	if n.Kind == Scalar {
		return quote(n.Text)
	}
	return n.Kind.String()
}

// quote quotes text for a message and cuts it when it is long.
func quote(text string) string {
	const longest = 60 // enough to know the value again
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return fmt.Sprintf("%q", text)
}

func join(path, key string) string {
	const longest = 60
	if len(key) > longest {
		key = key[:longest] + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
