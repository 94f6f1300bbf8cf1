package peers

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
)

// No port is given out twice, in this process nor in another at the same time.
func TestFreePort(t *testing.T) {
	const child = "PHAROS_PORTS_CHILD"
	const many = 100
	if os.Getenv(child) != "" {
		for range many {
			addr, err := FreePort()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println(addr)
		}
		fmt.Println("done")
		bufio.NewReader(os.Stdin).ReadByte() // until the parent has all of its own
		return
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFreePort$")
	other.Env = append(os.Environ(), child+"=1")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[netip.AddrPort]string{}
	take := func(addr netip.AddrPort, whose string) {
		if before := seen[addr]; before != "" {
			t.Errorf("%v is given to %s and to %s", addr, before, whose)
		}
		if port := addr.Port(); port < firstPort || port >= lastPort {
			t.Errorf("%v is not of the range", addr)
		}
		seen[addr] = whose
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "done"; {
		take(netip.MustParseAddrPort(lines.Text()), "another process")
	}
	for range many {
		addr, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		take(addr, "this process")
	}
	for range many {
		const inRow = 3
		addr, err := FreePorts(inRow)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint16(inRow) {
			take(netip.AddrPortFrom(addr.Addr(), addr.Port()+i), "a row")
		}
	}
	if len(seen) != 5*many {
		t.Errorf("%d ports, want %d", len(seen), 5*many)
	}
	in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}
