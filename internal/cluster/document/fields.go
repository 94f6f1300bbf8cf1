package document

import (
	"reflect"
	"strings"
	"sync"
)

// Field is one key of a struct type, with the facts of its tags.
type Field struct {
	Key      string // as a document writes it
	GoName   string // of the struct's field
	Type     reflect.Type
	Index    []int // for reflect.Value.FieldByIndex
	Owner    reflect.Type
	Default  string
	Min, Max string
	Step     string
	Enum     []string
	Format   string
	Example  string
	Required bool
}

// fieldCache holds the result of Fields for each type: reflect.Type -> []Field.
var fieldCache sync.Map

// Fields returns the keys of struct type t in their order. The fields of an
// embedded struct, or of one that a pointer is embedded to, count as t's own, as
// encoding/json has it.
func Fields(t reflect.Type) []Field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]Field)
	}
	var fields []Field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case key == "-" || !f.IsExported():
		case f.Anonymous && key == "":
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			for _, inner := range Fields(embedded) {
				inner.Index = append([]int{i}, inner.Index...)
				fields = append(fields, inner)
			}
		default:
			fields = append(fields, fieldOf(t, f, key))
		}
	}
	fieldCache.Store(t, fields)
	return fields
}

func fieldOf(owner reflect.Type, f reflect.StructField, key string) Field {
	field := Field{
		Key: key, GoName: f.Name, Type: f.Type, Index: f.Index, Owner: owner,
		Default: f.Tag.Get("default"), Min: f.Tag.Get("min"), Max: f.Tag.Get("max"), Step: f.Tag.Get("step"),
		Format: f.Tag.Get("format"), Example: f.Tag.Get("example"), Required: f.Tag.Get("required") == "true",
	}
	if words := f.Tag.Get("enum"); words != "" {
		field.Enum = strings.Split(words, ",")
	}
	return field
}

// keys returns the keys of fields.
func keys(fields []Field) []string {
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = f.Key
	}
	return words
}
