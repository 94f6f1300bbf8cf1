package migrate

import (
	"path"
	"strings"
)

// statement is one statement of named.conf: words and blocks up to a semicolon.
type statement struct {
	place
	parts []part
}

// part is a word or a block.
type part struct {
	word   string
	quoted bool
	block  []statement
	braces bool // it is a block
}

// word returns the i-th part if it is a word, else "".
func (s *statement) word(i int) string {
	if i >= len(s.parts) || s.parts[i].braces {
		return ""
	}
	return s.parts[i].word
}

// block returns the first block of s; ok is false if it has none.
func (s *statement) block() (list []statement, ok bool) {
	for _, p := range s.parts {
		if p.braces {
			return p.block, true
		}
	}
	return nil, false
}

// after returns the word behind the word key, as in "port 53".
func (s *statement) after(key string) string {
	for i, p := range s.parts {
		if !p.braces && !p.quoted && p.word == key {
			return s.word(i + 1)
		}
	}
	return ""
}

// String returns the words of s, with {...} for a block.
func (s *statement) String() string {
	var words []string
	for _, p := range s.parts {
		switch {
		case p.braces:
			words = append(words, "{...}")
		case p.quoted:
			words = append(words, `"`+p.word+`"`)
		default:
			words = append(words, p.word)
		}
	}
	return strings.Join(words, " ")
}

// lexer reads the tokens of named.conf.
type lexer struct {
	text string
	at   int
	place
	depth int
}

// token kinds besides the characters { } ;
const (
	tokenEnd    = 0
	tokenWord   = 'w'
	tokenString = '"'
)

// space passes over blanks and comments of three kinds: /* */, // and #. As in
// named, they may also follow a word without a blank.
func (l *lexer) space() error {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		switch {
		case rest[0] == '\n':
			l.line++
			l.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			l.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				l.at += end
			} else {
				l.at = len(l.text)
			}
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return l.errorf("a comment that begins with /* and does not end")
			}
			l.line += strings.Count(rest[:end+4], "\n")
			l.at += end + 4
		default:
			return nil
		}
	}
	return nil
}

// next returns the next token.
func (l *lexer) next() (kind byte, word string, err error) {
	if err := l.space(); err != nil {
		return 0, "", err
	}
	if l.at >= len(l.text) {
		return tokenEnd, "", nil
	}
	switch c := l.text[l.at]; c {
	case '{', '}', ';':
		l.at++
		return c, "", nil
	case '"':
		word, err := l.quoted()
		return tokenString, word, err
	}
	begin := l.at
	for l.at < len(l.text) && !strings.ContainsRune(" \t\r\n{};\"#", rune(l.text[l.at])) &&
		!strings.HasPrefix(l.text[l.at:], "//") && !strings.HasPrefix(l.text[l.at:], "/*") {
		l.at++
	}
	return tokenWord, l.text[begin:l.at], nil
}

func (l *lexer) quoted() (string, error) {
	var b strings.Builder
	for i := l.at + 1; i < len(l.text); i++ {
		switch c := l.text[i]; c {
		case '\\':
			if i++; i < len(l.text) && l.text[i] != '\n' {
				if l.text[i] != '"' && l.text[i] != '\\' {
					b.WriteByte('\\')
				}
				b.WriteByte(l.text[i])
			}
		case '\n':
			return "", l.errorf("a string without its closing quotation mark")
		case '"':
			l.at = i + 1
			return b.String(), nil
		default:
			b.WriteByte(c)
		}
	}
	return "", l.errorf("a string without its closing quotation mark")
}

// statements reads statements up to the end of the block, or of the text.
func (l *lexer) statements(inBlock bool) ([]statement, error) {
	if l.depth++; l.depth > maxNested {
		return nil, l.errorf("more than %d blocks within each other", maxNested)
	}
	defer func() { l.depth-- }()
	var all []statement
	var s statement
	for {
		kind, word, err := l.next()
		if err != nil {
			return nil, err
		}
		if len(s.parts) == 0 {
			s.place = l.place
		}
		switch kind {
		case tokenEnd, '}':
			if inBlock != (kind == '}') {
				return nil, l.errorf("%s", map[bool]string{true: "a block without its closing brace }", false: "a closing brace } that closes nothing"}[inBlock])
			}
			if len(s.parts) > 0 {
				return nil, s.errorf("%q has no semicolon at its end", clip(s.String()))
			}
			return all, nil
		case ';':
			if len(s.parts) > 0 {
				all = append(all, s)
			}
			s = statement{}
		case '{':
			block, err := l.statements(true)
			if err != nil {
				return nil, err
			}
			s.parts = append(s.parts, part{block: block, braces: true})
		default:
			s.parts = append(s.parts, part{word: word, quoted: kind == tokenString})
		}
	}
}

// parseBIND reads a named.conf and what it includes, wherever the include stands.
func (r *reader) parseBIND(file string) ([]statement, error) {
	text, err := r.read(file)
	if err != nil {
		return nil, err
	}
	l := &lexer{text: text, place: place{file, 1}}
	all, err := l.statements(false)
	if err != nil {
		return nil, err
	}
	r.open = append(r.open, file)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	return r.includeBIND(all, path.Dir(file))
}

// includeBIND puts what include statements name in their place. named takes
// relative names from its working folder, which is unknown here: the folder of the
// file is where people put them.
func (r *reader) includeBIND(list []statement, folder string) ([]statement, error) {
	var out []statement
	for _, s := range list {
		if s.word(0) == "include" && len(s.parts) == 2 {
			files, err := r.expand(below(folder, s.word(1)))
			if err != nil {
				return nil, s.errorf("include: %w", err)
			}
			for _, file := range files {
				included, err := r.parseBIND(file)
				if err != nil {
					return nil, s.errorf("include: %w", err)
				}
				out = append(out, included...)
			}
			continue
		}
		for i, p := range s.parts {
			if p.braces {
				block, err := r.includeBIND(p.block, folder)
				if err != nil {
					return nil, err
				}
				s.parts[i].block = block
			}
		}
		out = append(out, s)
	}
	return out, nil
}
