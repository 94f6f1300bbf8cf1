package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/bulk"
	"pharos/internal/resolver/rrcache"
)

// bulkAnswer is a line of what "pharos resolve" writes.
type bulkAnswer struct {
	Name     string   `json:"name"`
	Type     string   `json:"type,omitempty"`
	Rcode    string   `json:"rcode,omitempty"`
	Security string   `json:"security,omitempty"` // secure, insecure; none if it is not validated
	Answer   []string `json:"answer,omitempty"`
	Error    string   `json:"error,omitempty"`   // extended error of a SERVFAIL
	Queries  int      `json:"queries"`           // that were sent for it
	TookMS   float64  `json:"took_ms"`           //
	Problem  string   `json:"problem,omitempty"` // why the line is no question
}

// appendAnswer appends the line about an answer: what json.Marshal makes of its
// bulkAnswer, at a quarter of the cost, of which there are millions.
func appendAnswer(b []byte, r *bulk.Result) []byte {
	a := &r.Answer
	b = appendText(append(b, `{"name":`...), r.Name.AppendText)
	b = append(append(append(b, `,"type":"`...), r.Type.String()...), `","rcode":"`...)
	b = append(append(b, a.Rcode.String()...), '"')
	if a.State == rrcache.Secure || a.State == rrcache.Insecure {
		b = append(append(append(b, `,"security":"`...), a.State.String()...), '"')
	}
	for i := range a.Answer {
		b = append(b, map[bool]string{true: `,"answer":[`, false: ","}[i == 0]...)
		b = appendText(b, a.Answer[i].AppendText)
	}
	if len(a.Answer) > 0 {
		b = append(b, ']')
	}
	if n := len(a.Errors); n > 0 {
		e := a.Errors[n-1]
		b = append(append(b, `,"error":`...), quoted(fmt.Sprintf("%s: %s", e.Code, e.Text))...)
	}
	b = strconv.AppendInt(append(b, `,"queries":`...), int64(a.Sent), 10)
	b = append(b, `,"took_ms":`...)
	b = strconv.AppendFloat(b, float64(a.Elapsed.Round(time.Microsecond))/float64(time.Millisecond), 'f', -1, 64)
	return append(b, "}\n"...)
}

// appendText appends, as a string of JSON, what write appends.
func appendText(b []byte, write func([]byte) []byte) []byte {
	b = append(b, '"')
	begin := len(b)
	b = write(b)
	if isPlain(b[begin:]) {
		return append(b, '"')
	}
	return append(b[:begin-1], quoted(string(b[begin:]))...)
}

// isPlain reports whether text stands in JSON as it is.
func isPlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// answerWriter writes lines of JSON, and whole ones to the file about once a second.
type answerWriter struct {
	to      io.Writer
	buf     *bufio.Writer
	line    []byte
	flushed time.Time
	err     error // the first
}

// writeResult writes the line about an answer.
func (w *answerWriter) writeResult(r bulk.Result) error {
	w.line = appendAnswer(w.line[:0], &r)
	return w.write()
}

// writeProblem writes the line about what is no name.
func (w *answerWriter) writeProblem(name string, problem error) {
	line, err := json.Marshal(bulkAnswer{Name: name, Problem: problem.Error()})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.line = append(append(w.line[:0], line...), '\n')
	w.write()
}

func (w *answerWriter) write() error {
	if w.buf.Available() < len(w.line) { // no half lines, unless a line is larger than the buffer
		w.note(w.buf.Flush())
	}
	_, err := w.buf.Write(w.line)
	w.note(err)
	if now := time.Now(); now.Sub(w.flushed) > time.Second {
		w.note(w.buf.Flush())
		w.flushed = now
	}
	return w.err
}

func (w *answerWriter) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

// continueFile opens the file of answers behind its last whole line, and notes in done
// what it has.
func (r *resolving) continueFile(done *bulk.Done) (*os.File, error) {
	flags := os.O_RDWR | os.O_CREATE
	if r.restart {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(r.out, flags, 0o644)
	if err != nil {
		return nil, err
	}
	whole, err := r.readAnswers(f, done)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("going on with %s: %w", r.out, err)
	}
	return f, nil
}

// readAnswers notes what f has answers to, and returns the octets of its whole lines.
func (r *resolving) readAnswers(f io.Reader, done *bulk.Done) (whole int64, err error) {
	in := bufio.NewReaderSize(f, 1<<20)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return whole, nil // what is there of a line was not finished
		}
		if err != nil {
			return 0, err
		}
		if whole += int64(len(line)); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var a bulkAnswer
		if err := json.Unmarshal(line, &a); err != nil || a.Name == "" {
			return 0, fmt.Errorf("line %d is no answer of pharos resolve; give --restart to begin anew, or another --out", number)
		}
		if !r.retry || a.Rcode != dnswire.RcodeServFail.String() {
			done.Add(bulk.Key(a.Name, a.Type))
		}
	}
}
