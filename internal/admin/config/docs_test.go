package config

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// sources are the packages whose comments are the manual, by import path.
var sources = map[string]string{
	reflect.TypeFor[Config]().PkgPath():     ".",
	reflect.TypeFor[state.Pool]().PkgPath(): "../../cluster/state",
}

const docs = "../../../docs"

// TestDocs holds docs/CONFIG.md and docs/config.schema.json equal to the struct
// and its comments; -update writes them.
func TestDocs(t *testing.T) {
	comments := readComments(t)
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("example.yaml", example); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(docs, "CONFIG.md"), manual(comments, string(example)))

	root := schemaOf(reflect.TypeFor[Config](), comments)
	root.Schema, root.Title = "https://json-schema.org/draft/2020-12/schema", "The configuration file of Pharos"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(docs, "config.schema.json"), string(text)+"\n")
}

// TestEveryKeyIsDocumented: a key has a comment, an example where it is a single
// value, and bounds where it is a number.
func TestEveryKeyIsDocumented(t *testing.T) {
	comments := readComments(t)
	walkTypes(reflect.TypeFor[Config](), "", func(path string, typ reflect.Type) {
		for _, f := range document.Fields(typ) {
			if comments.field(f) == "" {
				t.Errorf("%s.%s has no comment", path, f.Key)
			}
			if elem(f.Type).Kind() != reflect.Struct && f.Example == "" {
				t.Errorf("%s.%s has no example", path, f.Key)
			}
			isNumber := f.Type.Kind() >= reflect.Int && f.Type.Kind() <= reflect.Uint64
			if isNumber && f.Min == "" {
				t.Errorf("%s.%s has no least value", path, f.Key)
			}
			if f.Type.Kind() == reflect.Slice && f.Max == "" {
				t.Errorf("%s.%s has no largest number of items", path, f.Key)
			}
			if f.Example != "" && elem(f.Type).Kind() != reflect.Struct {
				checkExample(t, path, f)
			}
		}
	})
}

// checkExample reads an example as the value of its key.
func checkExample(t *testing.T, path string, f document.Field) {
	t.Helper()
	holder := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: f.GoName, Type: elem(f.Type),
		Tag: reflect.StructTag(fmt.Sprintf(`json:%q default:%q step:%q format:%q enum:%q`, f.Key, f.Default, f.Step, f.Format, strings.Join(f.Enum, ","))),
	}}))
	root := &document.Node{Kind: document.Map,
		Keys:  []*document.Node{{Kind: document.Scalar, Text: f.Key}},
		Items: []*document.Node{{Kind: document.Scalar, Text: f.Example}}}
	if f.Type.Kind() == reflect.Slice {
		return // its default is a list; its example is one item, which other tests read
	}
	if err := document.Decode("", root, holder.Interface()).Err(); err != nil {
		t.Errorf("the example of %s.%s is wrong: %v", path, f.Key, err)
	}
}

// sourceComments are the comments of types and fields, by "import/path.Type"
// and "import/path.Type.Field".
type sourceComments map[string]string

func readComments(t *testing.T) sourceComments {
	t.Helper()
	found := sourceComments{}
	for path, dir := range sources {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			found.addFile(path, file)
		}
	}
	return found
}

func (c sourceComments) addFile(path string, file *ast.File) {
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		for _, spec := range general.Specs {
			typ := spec.(*ast.TypeSpec)
			c[path+"."+typ.Name.Name] = clean(general.Doc.Text())
			structure, ok := typ.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range structure.Fields.List {
				for _, name := range field.Names {
					c[path+"."+typ.Name.Name+"."+name.Name] = clean(field.Doc.Text())
				}
			}
		}
	}
}

// clean joins the lines of a comment.
func clean(text string) string { return strings.Join(strings.Fields(text), " ") }

// word is a word that may be the Go name of a field.
var word = regexp.MustCompile(`\b[A-Z][A-Za-z]*\b`)

// field returns the comment of f, with Go names of its struct turned into keys.
// Acronyms in the middle of the text stay, since they are words of their own.
func (c sourceComments) field(f document.Field) string {
	text := c[f.Owner.PkgPath()+"."+f.Owner.Name()+"."+f.GoName]
	return c.withKeys(text, f.Owner)
}

// typ returns the comment of type t. Its Go name, if it is no plain word, is
// taken out: readers of the manual know the key in the title.
func (c sourceComments) typ(t reflect.Type) string {
	text := strings.TrimPrefix(c[t.PkgPath()+"."+t.Name()], "Config is the configuration file. ")
	return c.withKeys(strings.Replace(strings.Replace(text, "GatewayTimeouts", "Timeouts", 1), "GatewayLimits", "Limits", 1), t)
}

func (c sourceComments) withKeys(text string, owner reflect.Type) string {
	byName := map[string]string{}
	for _, f := range document.Fields(owner) {
		byName[f.GoName] = f.Key
	}
	var b strings.Builder
	last := 0
	for _, at := range word.FindAllStringIndex(text, -1) {
		w := text[at[0]:at[1]]
		key, known := byName[w]
		if !known || at[0] > 0 && strings.ToUpper(w) == w {
			continue
		}
		b.WriteString(text[last:at[0]] + "`" + key + "`")
		last = at[1]
	}
	return b.String() + text[last:]
}

// elem returns the type of a list's items, or t.
func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Slice {
		return t.Elem()
	}
	return t
}

// isSection reports whether t is written as a map with keys of its own.
func isSection(t reflect.Type) bool {
	_, isText := reflect.New(t).Interface().(interface{ UnmarshalText([]byte) error })
	return t.Kind() == reflect.Struct && !isText
}

// walkTypes calls visit for t and for every section below it.
func walkTypes(t reflect.Type, path string, visit func(path string, t reflect.Type)) {
	visit(path, t)
	for _, f := range document.Fields(t) {
		if isSection(elem(f.Type)) {
			walkTypes(elem(f.Type), pathOf(path, f), visit)
		}
	}
}

func pathOf(path string, f document.Field) string {
	if path != "" {
		path += "."
	}
	path += f.Key
	if f.Type.Kind() == reflect.Slice {
		path += "[]"
	}
	return path
}

// manual returns docs/CONFIG.md.
func manual(comments sourceComments, example string) string {
	var b strings.Builder
	b.WriteString("# The configuration file\n\n")
	b.WriteString("<!-- Generated from the comments of the config struct: go test ./internal/admin/config -run TestDocs -update -->\n\n")
	b.WriteString(`One YAML document. Unknown keys, values out of range, names that stand twice and references to what does not exist are
errors; ` + "`pharos check`" + ` shows all of them with line, column and remedy. Editors complete and check the file with
[config.schema.json](config.schema.json), for example by a first line
` + "`# yaml-language-server: $schema=config.schema.json`" + `.

Durations have a unit (` + "`500ms`, `5s`, `1m30s`, `30d`" + `), sizes a binary one (` + "`64KiB`, `256MiB`" + `), and addresses with a port stand in quotes
where they begin with a bracket (` + "`\"[::1]:53\"`" + `). A key without a value has its default.

` + "```yaml\n" + example + "```\n")
	walkTypes(reflect.TypeFor[Config](), "", func(path string, t reflect.Type) {
		if !strings.HasPrefix(path, viewZones) { // they are told of under zones[]
			section(&b, comments, path, t)
		}
	})
	return b.String()
}

// viewZones is the list that has the same keys as zones[].
const viewZones = "views[].zones[]"

// section writes the table of one struct.
func section(b *strings.Builder, comments sourceComments, path string, t reflect.Type) {
	title := "`" + path + "`"
	if path == "" {
		title = "The file"
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", title, comments.typ(t))
	for _, f := range document.Fields(t) {
		meaning := comments.field(f)
		if isSection(elem(f.Type)) {
			to := strings.TrimPrefix(pathOf(path, f), strings.TrimSuffix(viewZones, "zones[]"))
			anchor := strings.ToLower(strings.NewReplacer("[]", "", ".", "").Replace(to))
			meaning += fmt.Sprintf(" See [%s](#%s).", to, anchor)
		} else if f.Example != "" {
			meaning += " Example: `" + f.Example + "`."
		}
		row := []string{"`" + f.Key + "`", valueText(f), defaultText(f), meaning}
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

// typeTexts say how a value is written.
var typeTexts = map[reflect.Type]string{
	reflect.TypeFor[Duration]():          "duration",
	reflect.TypeFor[Size]():              "size",
	reflect.TypeFor[document.Rate]():     "rate",
	reflect.TypeFor[state.Coordinates](): "latitude,longitude",
	reflect.TypeFor[dnsname.Name]():      "domain name",
	reflect.TypeFor[rdata.Type]():        "record type",
	reflect.TypeFor[netip.AddrPort]():    "address:port",
	reflect.TypeFor[netip.Prefix]():      "address block",
	reflect.TypeFor[state.StatusSet]():   "status or range of them",
}

// formatTexts say what a text is, by format.
var formatTexts = map[string]string{
	"identifier": "name", "host": "host, `*.name` or `*`", "hostname": "host", "urlPath": "path", "routeHost": "host", "routePath": "path", "file": "file name", "country": "country code", "token": "name", "": "text",
}

func valueText(f document.Field) string {
	t := elem(f.Type)
	text, known := typeTexts[t]
	switch {
	case known:
	case len(f.Enum) > 0:
		text = "`" + strings.Join(f.Enum, "`, `") + "`"
	case isSection(t):
		text = "map"
	case t.Kind() == reflect.Bool:
		text = "`true`, `false`"
	case t.Kind() == reflect.String:
		text = formatTexts[f.Format]
	default:
		text = "number"
	}
	if f.Type.Kind() == reflect.Slice {
		text = "list of " + text
		if f.Min != "" {
			return text + ", " + f.Min + " to " + f.Max
		}
		return text + ", at most " + f.Max
	}
	switch {
	case f.Min != "" && f.Max != "":
		text += ", " + f.Min + " to " + f.Max
	case f.Min != "":
		text += ", " + f.Min + " or more"
	}
	if f.Step != "" {
		text += ", in steps of " + f.Step
	}
	return text
}

func defaultText(f document.Field) string {
	switch {
	case f.Required:
		return "required"
	case f.Type.Kind() == reflect.Slice && f.Default != "":
		return "`" + strings.Join(strings.Split(f.Default, ","), "`, `") + "`"
	case f.Default != "":
		return "`" + f.Default + "`"
	case f.Type.Kind() == reflect.Slice:
		return "none"
	case isSection(f.Type):
		return ""
	case f.Type == reflect.TypeFor[Duration]():
		return "see text"
	}
	return "empty"
}

// schema is a JSON Schema, as far as it is used here.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"` // a name or a list of them
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *int64             `json:"minimum,omitempty"`
	Maximum     *int64             `json:"maximum,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	MinItems    *int64             `json:"minItems,omitempty"`
	MaxItems    *int64             `json:"maxItems,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Additional  *bool              `json:"additionalProperties,omitempty"`
	Default     any                `json:"default,omitempty"`
	Examples    []any              `json:"examples,omitempty"`
}

// schemaOf returns the schema of a section.
func schemaOf(t reflect.Type, comments sourceComments) *schema {
	closed := false
	s := &schema{Type: []string{"object", "null"}, Description: comments.typ(t), Properties: map[string]*schema{}, Additional: &closed}
	for _, f := range document.Fields(t) {
		s.Properties[f.Key] = fieldSchema(f, comments)
		if f.Required {
			s.Required = append(s.Required, f.Key)
		}
	}
	return s
}

func fieldSchema(f document.Field, comments sourceComments) *schema {
	s := valueSchema(f, comments)
	if f.Type.Kind() == reflect.Slice {
		item := f
		item.Min, item.Max, item.Default = "", "", ""
		s = &schema{Type: []string{"array", "null"}, Items: valueSchema(item, comments), MinItems: number(f.Min), MaxItems: number(f.Max)}
	}
	s.Description = comments.field(f)
	if f.Default != "" {
		s.Default = jsonValue(f, f.Default)
	}
	if f.Example != "" && f.Type.Kind() != reflect.Slice {
		s.Examples = []any{jsonValue(f, f.Example)}
	}
	return s
}

// valueSchema returns the schema of f, or of an item of it if f is a list.
func valueSchema(f document.Field, comments sourceComments) *schema {
	t := elem(f.Type)
	switch {
	case isSection(t):
		return schemaOf(t, comments)
	case t == reflect.TypeFor[Duration]():
		return &schema{Type: "string", Pattern: `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`}
	case t == reflect.TypeFor[Size]():
		return &schema{Type: []string{"string", "integer"}, Pattern: `^[0-9]+ ?(KiB|MiB|GiB|TiB)?$`}
	case t == reflect.TypeFor[document.Rate]():
		return &schema{Type: "string", Pattern: `^(0|[0-9]+ ?(bps|kbps|Mbps|Gbps|Tbps))$`}
	case t == reflect.TypeFor[state.StatusSet]():
		return &schema{Type: []string{"string", "integer"}, Pattern: `^[1-5][0-9][0-9](-[1-5][0-9][0-9])?(, *[1-5][0-9][0-9](-[1-5][0-9][0-9])?)*$`}
	case t.Kind() == reflect.Bool:
		return &schema{Type: "boolean"}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return &schema{Type: "integer", Minimum: number(f.Min), Maximum: number(f.Max)}
	}
	return &schema{Type: "string", Enum: f.Enum}
}

func number(text string) *int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// jsonValue returns text, as a tag has it, as the JSON value of f.
func jsonValue(f document.Field, text string) any {
	if f.Type.Kind() == reflect.Slice {
		return strings.Split(text, ",")
	}
	if f.Type.Kind() == reflect.Bool {
		return text == "true"
	}
	switch f.Type {
	case reflect.TypeFor[Duration](), reflect.TypeFor[Size](), reflect.TypeFor[document.Rate]():
		return text
	}
	if f.Type.Kind() >= reflect.Int && f.Type.Kind() <= reflect.Uint64 {
		return *number(text)
	}
	return text
}
