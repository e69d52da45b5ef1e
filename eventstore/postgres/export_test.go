package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// FeedEnd returns the last position that followers see.
func (l *Log) FeedEnd() uint64 { return l.feed.end() }

// LimitsAtOnce is how many connections Limits uses at once.
const LimitsAtOnce = limitsAtOnce

// Ask runs statements on one of these connections.
func (l *Limits) Ask(ctx context.Context, queue func(*pgx.Batch)) error { return l.ask(ctx, queue) }

// NewestStreamsQuery is the query of NewestStreams.
const NewestStreamsQuery = newestStreams
