package dnsname

// String returns n in presentation form with its final dot: "www.example.com.",
// "." for the root, "" for the zero Name. Octets that a master file would
// misread are escaped (RFC 1035 §5.1).
func (n Name) String() string {
	if n.IsZero() {
		return ""
	}
	return string(n.AppendText(make([]byte, 0, len(n.wire)+8)))
}

// AppendText appends n in presentation form to b; see String.
func (n Name) AppendText(b []byte) []byte {
	if n.IsRoot() {
		return append(b, '.')
	}
	for a := n; len(a.wire) > 1; a = a.Parent() {
		b = AppendLabelText(b, a.Label())
		b = append(b, '.')
	}
	return b
}

// AppendLabelText appends one label in presentation form to b.
func AppendLabelText(b []byte, label string) []byte {
	for i := 0; i < len(label); i++ {
		switch c := label[i]; {
		case c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
			b = append(b, '\\', c)
		case c <= ' ' || c > '~':
			b = append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		default:
			b = append(b, c)
		}
	}
	return b
}

// MarshalText returns n in presentation form; the zero Name becomes empty text.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads n from presentation form, as Parse does; empty text is the
// zero Name.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*n = Name{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err == nil {
		*n = parsed
	}
	return err
}
