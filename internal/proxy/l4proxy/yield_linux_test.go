package l4proxy

import "testing"

// A flow yields before each read as long as that has the next octets come meanwhile, and the less often the more
// often it was in vain.
func TestYielding(t *testing.T) {
	var y yielding
	yields := func(reads int, found bool) (n int) {
		for range reads {
			y.yield()
			if y.yielded {
				n++
			}
			y.learn(found)
		}
		return n
	}
	if n := yields(100, true); n != 100 {
		t.Errorf("%d yields before 100 reads that found something", n)
	}
	if n := yields(1000, false); n < 10 || n > 30 {
		t.Errorf("%d yields before 1000 reads that found nothing", n)
	}
	yields(mostWithout+1, true)
	if n := yields(100, true); n != 100 {
		t.Errorf("%d yields before 100 reads, after one that found something again", n)
	}
}

// What was read before without a yield says nothing of yields.
func TestYieldingLearnsOfYieldsOnly(t *testing.T) {
	y := yielding{without: 1}
	y.yield()
	if y.learn(false); y.yielded || y.after != 0 {
		t.Errorf("learned %+v of a read without", y)
	}
}
