// Package stamp writes times as messages and logs have them, and makes the text anew only when
// the second is another one.
//
// Entry points: Stamp.AppendDate, Stamp.AppendLog, Stamp.AppendCommon.
//
// Concurrency: a Stamp belongs to one goroutine.
//
// Sources: RFC 9110 §5.6.7 and §6.6.1 (Date), RFC 3339, the common log format of web servers.
package stamp

import "time"

// Stamp is a time in text, kept for as long as its second lasts.
type Stamp struct {
	second int64 // since 1970; 0 before the first use
	log    [len("2006-01-02T15:04:05")]byte
	http   [len("Mon, 02 Jan 2006 15:04:05 GMT")]byte
	common struct {
		second int64
		text   [len("02/Jan/2006:15:04:05 -0700")]byte
	}
}

func (s *Stamp) set(t time.Time) {
	if second := t.Unix(); second != s.second {
		s.second = second
		t = t.UTC()
		t.AppendFormat(s.log[:0], "2006-01-02T15:04:05")
		t.AppendFormat(s.http[:0], "Mon, 02 Jan 2006 15:04:05 GMT")
	}
}

// AppendLog appends t in RFC 3339 with milliseconds, in UTC.
func (s *Stamp) AppendLog(b []byte, t time.Time) []byte {
	s.set(t)
	ms := t.Nanosecond() / 1e6
	b = append(b, s.log[:]...)
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// AppendDate appends the Date field line (RFC 9110 §6.6.1).
func (s *Stamp) AppendDate(b []byte, t time.Time) []byte {
	s.set(t)
	b = append(append(b, "Date: "...), s.http[:]...)
	return append(b, '\r', '\n')
}

// AppendCommon appends t as the common log format has it.
func (s *Stamp) AppendCommon(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != s.common.second {
		s.common.second = second
		t.UTC().AppendFormat(s.common.text[:0], "02/Jan/2006:15:04:05 -0700")
	}
	return append(b, s.common.text[:]...)
}
