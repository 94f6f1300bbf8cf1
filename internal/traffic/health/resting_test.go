package health

import (
	"reflect"
	"testing"
	"time"
)

// A machine that rests is the same one when it wakes, whichever of its fields are set: each by itself, and all.
func TestResting(t *testing.T) {
	settings := Check{Kind: TCP}.Params
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	var all Machine
	leaves := 0
	var each func(v reflect.Value, path []int)
	set := func(m *Machine, path []int) {
		v := reflect.ValueOf(m).Elem()
		for _, i := range path {
			v = v.Field(i)
		}
		v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem() // of fields that are not exported, too
		switch x := v.Addr().Interface().(type) {
		case *time.Time:
			*x = at
		case **Saying:
			*x = new(Saying)
		case *ParamsOnce:
			*x = settings
		default:
			switch v.Kind() {
			case reflect.Bool:
				v.SetBool(true)
			case reflect.String:
				v.SetString("x")
			case reflect.Float64:
				v.SetFloat(1.5)
			case reflect.Uint8, reflect.Uint64:
				v.SetUint(1)
			case reflect.Int, reflect.Int64:
				v.SetInt(7)
			default:
				t.Fatalf("field %v is of a kind that this test does not know: %v", path, v.Kind())
			}
		}
	}
	check := func(m Machine, what any) {
		t.Helper()
		r := m.Rest(nil)
		if got := r.Wake(); !reflect.DeepEqual(got, m) {
			t.Errorf("field %v: it wakes as\n%+v, and went to rest as\n%+v", what, got, m)
		}
		if again := m.Rest(&r); again != r {
			t.Errorf("field %v: what is the same is not shared", what)
		}
	}
	each = func(v reflect.Value, path []int) {
		for i := range v.NumField() {
			at := append(path[:len(path):len(path)], i)
			f := v.Field(i)
			if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() && f.Type() != reflect.TypeFor[ParamsOnce]() {
				each(f, at)
				continue
			}
			var m Machine
			set(&m, at)
			set(&all, at)
			check(m, at)
			leaves++
		}
	}
	each(reflect.ValueOf(Machine{}), nil)
	check(all, "all")
	if leaves < 30 {
		t.Errorf("%d fields were looked at; a machine has more", leaves)
	}
}
