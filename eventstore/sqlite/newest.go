package sqlite

import (
	"context"

	"konto/events"
)

// NewestStreams lists up to n streams of a category, the highest ids first. As ids
// begin with a time, these were begun last, if clocks are right. It costs a look-up
// for each, however long the log is.
func (l *Log) NewestStreams(ctx context.Context, category string, n int) ([]events.Stream, error) {
	var found []events.Stream
	least, last := events.Stream(category+"-"), events.Stream(category+"-[") // '[' follows 'Z'
	for len(found) < n {
		var next events.Stream
		if err := l.one(ctx, l.queries.streamBefore, []any{last}, &next); err != nil {
			return nil, err
		}
		if next < least { // of another category, or "" for none
			break
		}
		found, last = append(found, next), next
	}
	return found, nil
}
