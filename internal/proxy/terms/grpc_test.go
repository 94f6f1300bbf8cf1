package terms

import "testing"

func TestCodes(t *testing.T) {
	for lines, want := range map[string]int{
		"grpc-status: 14\r\n": 14, "Grpc-Message: a\r\nGRPC-STATUS:0\r\n": 0, "": -1, "grpc-status: \r\n": -1, "grpc-status: 100\r\n": -1,
		"grpc-status: -1\r\n": -1, "x-grpc-status: 14\r\n": -1, "grpc-status-details-bin: 14\r\n": -1, "grpc-message: grpc-status: 14\r\n": -1,
	} {
		got, ok := CodeOfTrailers([]byte(lines))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: got %d %v, want %d", lines, got, ok, want)
		}
	}
	for word, code := range Codes {
		if code == 0 || StatusOf(code) == 200 && code != 1 && code != 10 {
			t.Errorf("%s (%d): another member is asked for what is no failure of one", word, code)
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { CodeOfTrailers([]byte("grpc-message: x\r\ngrpc-status: 14\r\n")) }); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
