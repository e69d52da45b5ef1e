package bench

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func TestLagsAreMeasuredFromTheAcknowledgement(t *testing.T) {
	begun := time.Now()
	after := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	hook := ulid.Make()
	f := &Followed{
		name: "half", ended: after(40),
		load: &loaded{latency: newHistogram(), length: time.Second, acks: []ack{
			{target: 0, version: 2, at: after(10)},
			{target: 1, version: 3, email: true, at: after(20)},
		}},
		watch: &watch{all: []seen{
			{at: after(0), position: map[string]uint64{"read-model": 4, "publisher": 4}},
			{at: after(5), position: map[string]uint64{"read-model": 5, "publisher": 4}},
			{at: after(60), position: map[string]uint64{"read-model": 6, "publisher": 5}},
			{at: after(100), position: map[string]uint64{"read-model": 6, "publisher": 6}},
		}},
		hooks: &Hooks{first: map[ulid.ULID]time.Time{hook: after(25)}},
	}
	places := map[uint64]Place{2: {Position: 5}, 3: {Position: 6, ID: hook}}
	place := func(target int, version uint64) (Place, bool) {
		p, ok := places[version]
		return p, ok && uint64(target)+2 == version
	}
	got, err := f.Lags(place)
	if err != nil {
		t.Fatal(err)
	}
	near := func(a, b float64) bool { return a > b*0.99-0.01 && a < b*1.01+0.01 }
	for i, want := range []Lag{
		{"read model", 2, 0, 40, 40, 20}, // the first was known before its answer was there
		{"published", 2, 50, 80, 80, 60},
		{"webhook", 1, 5, 5, 5, 0},
	} {
		l := got.To[i]
		if l.What != want.What || l.Events != want.Events || !near(l.P50, want.P50) || !near(l.P99, want.P99) || !near(l.Most, want.Most) || !near(l.Recovered, want.Recovered) {
			t.Errorf("%+v instead of %+v", l, want)
		}
	}

	delete(places, 3)
	if _, err := f.Lags(place); err == nil {
		t.Error("an update that is not in the log was not reported")
	}
	places[3] = Place{Position: 7, ID: hook}
	if _, err := f.Lags(place); err == nil {
		t.Error("nobody saw position 7")
	}
}
