package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
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

func newBulkAnswer(r bulk.Result) bulkAnswer {
	a := bulkAnswer{
		Name: r.Name.String(), Type: r.Type.String(), Rcode: r.Answer.Rcode.String(), Answer: lines(r.Answer.Answer),
		Queries: r.Answer.Sent, TookMS: float64(r.Answer.Elapsed.Round(time.Microsecond)) / float64(time.Millisecond),
	}
	if r.Answer.State == rrcache.Secure || r.Answer.State == rrcache.Insecure {
		a.Security = r.Answer.State.String()
	}
	for _, e := range r.Answer.Errors {
		a.Error = fmt.Sprintf("%s: %s", e.Code, e.Text)
	}
	return a
}

// answerWriter writes lines of JSON, and whole ones to the file about once a second.
type answerWriter struct {
	to      io.Writer
	buf     *bufio.Writer
	flushed time.Time
	err     error // the first
}

func (w *answerWriter) write(a bulkAnswer) error {
	line, err := json.Marshal(a)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if w.buf.Available() < len(line)+1 { // no half lines, unless a line is larger than the buffer
		w.note(w.buf.Flush())
	}
	_, err = w.buf.Write(append(line, '\n'))
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
