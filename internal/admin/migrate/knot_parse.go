package migrate

import (
	"path"
	"strings"
)

// item is one item of a section of knot.conf: a zone, a key, a remote server.
type item struct {
	place
	section  string
	settings []setting
}

// setting is "name: value" or "name: [value, value]".
type setting struct {
	place
	name   string
	values []string
}

// get returns the values of a setting; nil if it is not there.
func (it *item) get(name string) *setting {
	if it == nil {
		return nil
	}
	for i := range it.settings {
		if it.settings[i].name == name {
			return &it.settings[i]
		}
	}
	return nil
}

// one returns the first value of a setting, or "".
func (it *item) one(name string) string {
	if s := it.get(name); s != nil && len(s.values) > 0 {
		return s.values[0]
	}
	return ""
}

// String returns the setting as it stands in the file.
func (s *setting) String() string { return s.name + ": " + strings.Join(s.values, ", ") }

// knotLine is a line of knot.conf taken apart.
type knotLine struct {
	indent int
	dash   bool
	name   string // before the colon; "" for a value alone
	values []string
}

// parse reads a file and what it includes.
func (k *knot) parse(file string, items *[]item) error {
	text, err := k.read(file)
	if err != nil {
		return err
	}
	k.open = append(k.open, file)
	defer func() { k.open = k.open[:len(k.open)-1] }()
	p := knotParser{knot: k, items: items}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		at := place{file, i + 1}
		line := lines[i]
		for strings.Count(line, "[") > strings.Count(line, "]") && i+1 < len(lines) && isOpenList(line) {
			i++ // a list goes on in the next line
			line = cutComment(line) + " " + strings.TrimSpace(lines[i])
		}
		l, err := readKnotLine(line)
		if err != nil {
			return at.errorf("%w", err)
		}
		if err := p.line(at, l); err != nil {
			return err
		}
	}
	return nil
}

// isOpenList reports whether a line has a list without its closing bracket.
func isOpenList(line string) bool {
	line = cutComment(line)
	begin := strings.IndexByte(line, '[')
	return begin >= 0 && !strings.Contains(line[begin:], "]")
}

type knotParser struct {
	*knot
	items   *[]item
	section string
	current *item // settings go there
	last    *setting
}

// line takes one line.
func (p *knotParser) line(at place, l knotLine) error {
	switch {
	case l.name == "" && len(l.values) == 0:
		return nil
	case l.name == "include" && l.indent == 0 && !l.dash:
		return p.include(at, l)
	case l.name != "" && l.indent == 0 && !l.dash:
		if len(l.values) > 0 {
			return at.errorf("%s: a section has no value", l.name)
		}
		p.section, p.last = l.name, nil
		*p.items = append(*p.items, item{place: at, section: l.name})
		p.current = &(*p.items)[len(*p.items)-1]
		return nil
	case p.current == nil:
		return at.errorf("%q stands in no section", clip(l.name+strings.Join(l.values, " ")))
	case l.name == "":
		if !l.dash || p.last == nil {
			return at.errorf("%q belongs to no setting; want NAME: VALUE", clip(strings.Join(l.values, " ")))
		}
		p.last.values = append(p.last.values, l.values...)
		return nil
	case l.dash && len(p.current.settings) > 0:
		*p.items = append(*p.items, item{place: at, section: p.section})
		p.current = &(*p.items)[len(*p.items)-1]
	}
	if len(p.current.settings) == 0 {
		p.current.place = at
	}
	p.current.settings = append(p.current.settings, setting{at, l.name, l.values})
	p.last = &p.current.settings[len(p.current.settings)-1]
	return nil
}

// include reads other files: one, a pattern, or all of a folder.
func (p *knotParser) include(at place, l knotLine) error {
	for _, name := range l.values {
		files, err := p.expand(below(path.Dir(at.file), name))
		if err != nil {
			return at.errorf("include: %w", err)
		}
		for _, file := range files {
			if err := p.parse(file, p.items); err != nil {
				return at.errorf("include: %w", err)
			}
		}
	}
	p.section, p.current, p.last = "", nil, nil
	return nil
}

// readKnotLine takes a line apart.
func readKnotLine(line string) (l knotLine, err error) {
	line = strings.TrimRight(line, "\r \t")
	rest := strings.TrimLeft(line, " \t")
	l.indent = len(line) - len(rest)
	if rest == "---" || rest == "..." || strings.HasPrefix(rest, "%YAML") {
		return knotLine{}, nil
	}
	if rest == "-" || strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "-\t") {
		l.dash = true
		rest = strings.TrimLeft(rest[1:], " \t")
	}
	if end := strings.IndexByte(rest, ':'); end > 0 && isName(rest[:end]) && (end+1 == len(rest) || rest[end+1] == ' ' || rest[end+1] == '\t') {
		l.name = rest[:end]
		rest = rest[end+1:]
	}
	l.values, err = knotValues(rest)
	return l, err
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// cutComment takes off what follows a # that is not in quotation marks.
func cutComment(line string) string {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// knotValues reads a value or a list in brackets.
func knotValues(text string) ([]string, error) {
	text = strings.TrimSpace(cutComment(text))
	if inner, ok := strings.CutPrefix(text, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return nil, errText("a list without its closing bracket ]")
		}
		text = inner
	}
	var values []string
	var b strings.Builder
	quoted, any := false, false
	end := func() {
		if s := strings.TrimSpace(b.String()); s != "" || any {
			values = append(values, s)
		}
		b.Reset()
		any = false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted, any = !quoted, true
		case c == '\\' && quoted && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == ',' && !quoted:
			end()
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return nil, errText("a string without its closing quotation mark")
	}
	end()
	return values, nil
}

// errText is an error that is a text.
type errText string

// Error is part of error.
func (e errText) Error() string { return string(e) }
