package document

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"pharos/internal/dns/dnsname"
)

// The types that are written as one value and have a message of their own.
var (
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	rateType     = reflect.TypeFor[Rate]()
	nameType     = reflect.TypeFor[dnsname.Name]()
	addrPortType = reflect.TypeFor[netip.AddrPort]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// wantedTexts says what a value of each type looks like.
var wantedTexts = map[reflect.Type]string{
	durationType: `a duration with its unit, like "500ms", "5s" or "1m"`,
	sizeType:     `a size, like "64KiB" or "256MiB"`,
	rateType:     `a rate with its unit, like "500kbps", "100Mbps" or "2Gbps"`,
	nameType:     `a domain name, like "www.example.com"`,
	addrPortType: `an address and a port, like "192.0.2.1:53" or "[2001:db8::1]:53"`,
	prefixType:   `an address block, like "192.0.2.0/24" or "2001:db8::/32"`,
}

// wanted says what field f wants, for messages.
func wanted(f Field) string {
	t := f.Type
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if text, ok := wantedTexts[t]; ok {
		return text
	}
	switch {
	case len(f.Enum) > 0:
		return "one of " + strings.Join(f.Enum, ", ")
	case f.Format != "":
		return formats[f.Format].wanted
	case f.Example != "" && (t.Kind() == reflect.Struct || reflect.PointerTo(t).Implements(textType)):
		return "a value like " + strconv.Quote(f.Example)
	}
	switch {
	case t.Kind() == reflect.Bool:
		return "true or false"
	case isInteger(t):
		return "a whole number"
	}
	return "text"
}

// isScalar reports whether a value of type t is written as one value.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool:
		return true
	}
	return isInteger(t) || reflect.PointerTo(t).Implements(textType)
}

func isInteger(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64
}

// setScalar sets v, a value of field f, from text. It returns what is wrong and
// the remedy; both are empty when all is well.
func setScalar(v reflect.Value, f Field, text string) (problem, remedy string) {
	switch t := v.Type(); {
	case t == addrPortType || t == prefixType:
		return setAddress(v, f, text)
	case reflect.PointerTo(t).Implements(textType):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			return badText(t, text, err), "want " + wanted(f)
		}
		if t == nameType && text == "" {
			return "the name is empty", "want " + wanted(f)
		}
	case t.Kind() == reflect.String:
		v.SetString(text)
	case t.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return quote(text) + " is neither true nor false", ""
		}
		v.SetBool(text == "true")
	case isInteger(t):
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return quote(text) + " is not a whole number", rangeRemedy(f)
		}
		if problem, remedy := outOfRange(n, f, text); problem != "" {
			return problem, remedy
		}
		return setInteger(v, n)
	}
	if problem, remedy := outOfWords(f, text); problem != "" {
		return problem, remedy
	}
	if v.CanInt() {
		return outOfRange(v.Int(), f, text)
	}
	return "", ""
}

// badText says that text is no value of type t. The errors of dnsname and rdata
// show the text themselves.
func badText(t reflect.Type, text string, err error) string {
	if t == nameType || strings.HasPrefix(err.Error(), quote(text)) {
		return err.Error()
	}
	return quote(text) + " " + err.Error()
}

func setInteger(v reflect.Value, n int64) (problem, remedy string) {
	if v.CanInt() && !v.OverflowInt(n) {
		v.SetInt(n)
		return "", ""
	}
	if v.CanUint() && n >= 0 && !v.OverflowUint(uint64(n)) {
		v.SetUint(uint64(n))
		return "", ""
	}
	return fmt.Sprintf("%d does not fit", n), ""
}

// setAddress sets an address with a port or an address block.
func setAddress(v reflect.Value, f Field, text string) (problem, remedy string) {
	if v.Type() == prefixType {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			if a, addrErr := netip.ParseAddr(text); addrErr == nil {
				return quote(text) + " has no prefix length", fmt.Sprintf("write \"%s/%d\" for this one address", text, a.BitLen())
			}
			return quote(text) + " is not an address block", "want " + wanted(f)
		}
		if p != p.Masked() {
			return quote(text) + " has bits set behind its prefix length", fmt.Sprintf("write %q", p.Masked())
		}
		v.Set(reflect.ValueOf(p))
		return "", ""
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		if ip, addrErr := netip.ParseAddr(strings.Trim(text, "[]")); addrErr == nil {
			return quote(text) + " has no port", fmt.Sprintf("write %q with the port you mean", netip.AddrPortFrom(ip, 53))
		}
		return quote(text) + " is not an address and a port", "want " + wanted(f)
	}
	v.Set(reflect.ValueOf(a))
	return "", ""
}

// outOfRange says what is wrong with n, which was written as text.
func outOfRange(n int64, f Field, text string) (problem, remedy string) {
	least, hasLeast := scaled(f, f.Min)
	most, hasMost := scaled(f, f.Max)
	step, hasStep := scaled(f, f.Step)
	switch {
	case hasLeast && n < least:
		return fmt.Sprintf("%s is less than the smallest value allowed, %s", text, f.Min), rangeRemedy(f)
	case hasMost && n > most:
		return fmt.Sprintf("%s is more than the largest value allowed, %s", text, f.Max), rangeRemedy(f)
	case hasStep && n%step != 0:
		return fmt.Sprintf("%s is not a multiple of %s", text, f.Step), ""
	}
	return "", ""
}

func rangeRemedy(f Field) string {
	switch {
	case f.Min != "" && f.Max != "":
		return fmt.Sprintf("want %s to %s", f.Min, f.Max)
	case f.Min != "":
		return "want " + f.Min + " or more"
	case f.Max != "":
		return "want " + f.Max + " or less"
	}
	return ""
}

// scaled returns a bound, written in a tag of f, in the unit of f's type.
func scaled(f Field, bound string) (int64, bool) {
	if bound == "" {
		return 0, false
	}
	t := f.Type
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	v := reflect.New(t)
	if u, ok := v.Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(bound)); err != nil {
			panic("BUG: bound of " + f.Owner.Name() + "." + f.GoName + ": " + bound)
		}
		return v.Elem().Int(), true
	}
	return limit(bound)
}

// limit returns a bound that is a plain number.
func limit(bound string) (int64, bool) {
	if bound == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(bound, 10, 64)
	if err != nil {
		panic("BUG: bound is not a number: " + bound)
	}
	return n, true
}

// outOfWords checks text against the words or the format of f.
func outOfWords(f Field, text string) (problem, remedy string) {
	if len(f.Enum) > 0 && !slices.Contains(f.Enum, text) {
		remedy = "want one of " + strings.Join(f.Enum, ", ")
		if near := Nearest(text, f.Enum); near != "" {
			remedy = fmt.Sprintf("did you mean %q? Want one of %s", near, strings.Join(f.Enum, ", "))
		}
		return "unknown value " + quote(text), remedy
	}
	format, ok := formats[f.Format]
	if f.Format != "" && !ok {
		panic("BUG: unknown format " + f.Format)
	}
	if !ok || text == "" && !f.Required {
		return "", ""
	}
	if reason := format.check(text); reason != "" {
		return quote(text) + " " + reason, "want " + format.wanted
	}
	return "", ""
}
