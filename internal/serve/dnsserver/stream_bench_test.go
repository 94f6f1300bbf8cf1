package dnsserver

import (
	"bufio"
	"encoding/binary"
	"testing"
)

// BenchmarkPipelined is one query and its answer, 16 of them under way, over TCP and
// over TLS, with both ends in one process. What is allocated is the server's and the
// client's together.
func BenchmarkPipelined(b *testing.B) {
	s, at, clients := startDoT(b, Config{}, Limits{})
	for name, c := range map[string]*client{"TCP": dial(b, "tcp", s.Addrs()[0]), "DoT": dialTLS(b, at, clients)} {
		b.Run(name, func(b *testing.B) {
			const window = 16
			msg := query(b, 1, "www.example.", 1232)
			one := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
			var burst []byte
			for range window {
				burst = append(burst, one...)
			}
			in := bufio.NewReaderSize(c, 1<<16)
			b.ReportAllocs()
			for range (b.N + window - 1) / window {
				if _, err := c.Write(burst); err != nil {
					b.Fatal(err)
				}
				for range window {
					head, err := in.Peek(2)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := in.Discard(2 + int(binary.BigEndian.Uint16(head))); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
