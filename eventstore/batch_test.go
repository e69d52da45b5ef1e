package eventstore

import (
	"testing"
	"time"
)

func TestInvalidBatchesAreRefused(t *testing.T) {
	whole := time.UnixMilli(1_700_000_000_123).UTC()
	tests := map[string]struct {
		change func(b *Batch)
		ok     bool
	}{
		"as it should be":          {func(*Batch) {}, true},
		"without records":          {func(b *Batch) { b.Records = nil }, true},
		"no stream":                {func(b *Batch) { *b = Batch{} }, false},
		"another stream":           {func(b *Batch) { b.Records[1].Stream = "account-2" }, false},
		"a version left out":       {func(b *Batch) { b.Records[1].Version = 7 }, false},
		"a version repeated":       {func(b *Batch) { b.Records[1].Version = 5 }, false},
		"versions from 1":          {func(b *Batch) { b.Expected = 0 }, false},
		"microseconds":             {func(b *Batch) { b.Records[0].Time = whole.Add(time.Microsecond) }, false},
		"another time zone":        {func(b *Batch) { b.Records[0].Time = whole.In(time.FixedZone("CET", 3600)) }, false},
		"a monotonic reading":      {func(b *Batch) { b.Records[0].Time = time.Now() }, false},
		"receipts":                 {func(b *Batch) { b.Receipts = []Receipt{{Key: ReceiptKey{1}, Expires: whole}, {Expires: whole}} }, true},
		"a receipt twice":          {func(b *Batch) { b.Receipts = []Receipt{{Expires: whole}, {Expires: whole}} }, false},
		"receipts dropped":         {func(b *Batch) { b.DropReceipts = true }, true},
		"a receipt left with them": {func(b *Batch) { b.DropReceipts, b.Receipts = true, []Receipt{{Expires: whole}} }, false},
		"a receipt's microseconds": {func(b *Batch) { b.Receipts = []Receipt{{Expires: whole.Add(time.Microsecond)}} }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := Batch{Stream: "account-1", Expected: 4, Records: []Record{
				{Stream: "account-1", Version: 5, Time: whole}, {Stream: "account-1", Version: 6, Time: whole},
			}}
			test.change(&b)
			if err := b.Check(); (err == nil) != test.ok {
				t.Errorf("check: %v", err)
			}
		})
	}
}
