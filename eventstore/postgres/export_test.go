package postgres

// FeedEnd returns the last position that followers see.
func (l *Log) FeedEnd() uint64 { return l.feed.end() }

// NewestStreamsQuery is the query of NewestStreams.
const NewestStreamsQuery = newestStreams
