package memory_test

import (
	"testing"

	"konto/eventstore"
	"konto/eventstore/eventstoretest"
	"konto/eventstore/memory"
)

func TestLog(t *testing.T) {
	eventstoretest.Run(t, eventstoretest.Backend{
		Open:        func(testing.TB) eventstore.Log { return memory.New() },
		OpenAnother: func(_ testing.TB, log eventstore.Log) eventstore.Log { return log.(*memory.Log).OpenAnother() },
	})
}
