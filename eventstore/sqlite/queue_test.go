package sqlite

import (
	"testing"

	"konto/eventstore"
)

func TestQueueTakesGroupsInOrder(t *testing.T) {
	tests := map[string]struct {
		records []int // of the appends that wait
		limit   int
		groups  []int // how many appends each take removes
	}{
		"all that waits":             {[]int{1, 1, 1}, 10, []int{3}},
		"up to the limit":            {[]int{1, 1, 1, 1, 1}, 2, []int{2, 2, 1}},
		"no append is split":         {[]int{2, 2, 2}, 5, []int{2, 1}},
		"one above the limit, alone": {[]int{1, 50, 1}, 10, []int{1, 1, 1}},
		"claims alone count too":     {[]int{0, 0, 0}, 2, []int{2, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			var pushed []*pending
			for _, n := range test.records {
				p := newPending(newBatch(n))
				if err := q.push(p); err != nil {
					t.Fatal(err)
				}
				pushed = append(pushed, p)
			}
			q.close()
			for _, want := range test.groups {
				group := q.take(test.limit)
				if len(group) != want {
					t.Fatalf("took %d appends, not %d", len(group), want)
				}
				for i, p := range group {
					if p != pushed[i] {
						t.Errorf("append %d of a group came out of order", i)
					}
				}
				pushed = pushed[want:]
			}
			if group := q.take(test.limit); group != nil {
				t.Errorf("an empty, closed queue gave %d appends", len(group))
			}
			if err := q.push(newPending(eventstore.Batch{})); err != eventstore.ErrClosed {
				t.Errorf("push after close: %v", err)
			}
		})
	}
}

func TestReceiptsCountAsRecordsOfAGroup(t *testing.T) {
	q := newQueue()
	for range 4 {
		b := newBatch(1)
		b.Receipts = make([]eventstore.Receipt, 2)
		if err := q.push(newPending(b)); err != nil {
			t.Fatal(err)
		}
	}
	if group := q.take(6); len(group) != 2 {
		t.Errorf("took %d appends of a record and two receipts each, not 2", len(group))
	}
}

func TestOnlyAppendsThatWaitCanBeWithdrawn(t *testing.T) {
	q := newQueue()
	var pushed [4]*pending
	for i := range pushed {
		pushed[i] = newPending(newBatch(1))
	}
	if err := q.push(pushed[:]...); err != nil {
		t.Fatal(err)
	}
	taken := q.take(1)
	if q.withdraw(pushed[0]) {
		t.Error("withdrew an append that was taken")
	}
	if !q.withdraw(pushed[2]) || q.withdraw(pushed[2]) {
		t.Error("did not withdraw an append once")
	}
	rest := q.take(10)
	if taken[0] != pushed[0] || len(rest) != 2 || rest[0] != pushed[1] || rest[1] != pushed[3] {
		t.Errorf("took %v and then %v of %v", taken, rest, pushed)
	}
}
