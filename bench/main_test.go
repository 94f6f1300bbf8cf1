//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pharos/bench/assault"
	"pharos/bench/corpus"
	"pharos/bench/table"
)

// TestMain is also the processes that attack, and are attacked: see arena.attack.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == assaultCommand || os.Args[1] == drainCommand) {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestQuick runs every work for a moment, with the peers that are installed: all
// configurations are right, all answers are, and every server ends. The figures
// mean nothing.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a dozen servers")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("the bench needs two processors")
	}
	binary := filepath.Join(t.TempDir(), "pharos")
	build := exec.Command("go", "build", "-o", binary, "../cmd/pharos") // as the tests are built, of what is built already
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("pharos does not build, which other tests say: %s", out)
	}
	var out strings.Builder
	if err := run([]string{"-quick", "-seconds", "0.1", "-o", "json", "-pharos", binary}, &out); err != nil {
		t.Fatal(err)
	}
	var records []table.Record
	if err := json.Unmarshal([]byte(out.String()), &records); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	for _, r := range records {
		if r.Pharos < 0 || r.PeerValue < 0 || r.Date == "" || strings.Contains(r.Metric, "CPU us") && (r.Pharos == 0 || r.Peer != "" && r.Ratio == 0) {
			t.Errorf("%+v makes no sense", r)
		}
	}
	if left, err := filepath.Glob("work/run-*"); err != nil || len(left) > 0 {
		t.Errorf("the run left %v (%v)", left, err)
	}
}

func TestFlags(t *testing.T) {
	for _, bad := range []string{"-work dns", "-rounds 0", "-seconds 0", "-o yaml", "auth", "-nonsense"} {
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	o, err := parse([]string{"-quick", "-rounds", "9", "-seconds", "9"})
	if err != nil || o.rounds != 1 || o.seconds != 1 {
		t.Errorf("-quick: %d rounds of %v s, %v", o.rounds, o.seconds, err)
	}
	if err := run([]string{"-work", "all", "-pharos", "/nonexistent/pharos", "-quick"}, io.Discard); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without the program: %v", err)
	}
}

// TestFiguresNameRows: a figure to reach speaks of a metric that is measured.
func TestFiguresNameRows(t *testing.T) {
	known := map[string][]string{
		fmt.Sprintf(signWork, thousands(signNames)): {signWall.Name},
		authUDP:  {cpuPerAnswer.Name},
		cacheUDP: {cpuPerAnswer.Name},
		fmt.Sprintf(shapeTLD, thousands(tldShape.Delegations)):                                      {cpuPerAnswer.Name},
		signedWorkName(signedShape):                                                                 {cpuPerAnswer.Name},
		fmt.Sprintf(shapeMany, thousands(manyZones)):                                                {relative.Name},
		fmt.Sprintf(authLoad, thousands(corpus.Zone{Origin: "a.", Shape: loadShape}.Records())):     {perRecord.Name},
		fmt.Sprintf(shapeRestart, thousands(corpus.Zone{Origin: "a.", Shape: loadShape}.Records())): {loadWall.Name},
	}
	known[fmt.Sprintf(shapeMany, thousands(millionZones))] = []string{relative.Name}
	known[fmt.Sprintf(shapeSteered, thousands(steeredNames))] = []string{besideStatic.Name}
	known[fmt.Sprintf(shapeSteered, thousands(steeredNames))+keptWork] = []string{keptShare.Name}
	known[fmt.Sprintf(cachedRRsets, thousands(2*cachedHosts))] = []string{perRRset.Name}
	known[fmt.Sprintf(probeWork, thousands(probedMembers))] = []string{processors.Name}
	known[fmt.Sprintf(recalled, thousands(2*recalledHosts))] = []string{untilRecalled.Name}
	known[fmt.Sprintf(crowdWork, thousands(crowdRoutes), thousands(crowdMembers))] = []string{memory.Name, afterApply.Name, listedCPU.Name}
	changed := thousands(corpus.Zone{Origin: "a.", Shape: changedHosts}.Records())
	known[fmt.Sprintf(changeSigned, thousands(6*signedHosts.Hosts))] = []string{visible.Name}
	known[fmt.Sprintf(changeMany, changed)] = []string{perUpdate.Name}
	for _, what := range []string{calmByReloads, calmByIXFR, calmByUpdates, calmBySigned, calmByCollected} {
		known[fmt.Sprintf(changeCalm, calmRate, what, changed)] = []string{ratioRan.Name}
	}
	for _, n := range gatewayConnections {
		for _, c := range contents {
			known[gatewayWork(c.name, n)] = []string{cpuPerRequest.Name}
		}
	}
	for _, m := range verdictMetrics {
		known[verdictByProbe] = append(known[verdictByProbe], m.worst.Name)
	}
	known[verdictByTraffic] = known[verdictByProbe]
	known[idleWork], known[paceWork] = []string{perConnection.Name}, []string{latencyLast.Name}
	for _, l := range slices.Concat(http2Loads, tlsLoads) {
		known[l.work()] = []string{cpuPerRequest.Name}
	}
	for _, k := range assault.Kinds {
		known[assaultWork(k)] = []string{besideCalm.Name}
	}
	for _, f := range figures {
		if !slices.Contains(known[f.Work], f.Metric) {
			t.Errorf("figure %+v is of nothing that is measured", f)
		}
	}
}

// TestShapes: the works are as large as their names say.
func TestShapes(t *testing.T) {
	if n := (corpus.Zone{Origin: "a.", Shape: authShape}).Records(); n != 125_000 {
		t.Errorf("the authoritative zone has %d records, its name says 125k", n)
	}
	if n := len(corpus.Zone{Origin: "a.", Shape: cacheShape}.Every(1)); n != 11_000 {
		t.Errorf("%d cached answers, the name says 11,000", n)
	}
}

// Numbers of the kernel are found by their names, whose places differ from one to the next.
func TestCountIn(t *testing.T) {
	const text = "TcpExt: SyncookiesSent EmbryonicRsts Later\nTcpExt: 1 22 3\nIpExt: EmbryonicRsts\nIpExt: 4\n"
	if n, err := countIn(text, "TcpExt:", "EmbryonicRsts"); n != 22 || err != nil {
		t.Errorf("got %d, %v; want 22", n, err)
	}
	if n, err := countIn(text, "TcpExt:", "Missing"); err == nil {
		t.Errorf("got %d of what is not there", n)
	}
}
