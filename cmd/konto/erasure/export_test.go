package erasure

import (
	"context"
	"testing"
	"time"
)

// Look is what Run does each time.
func (p *Process) Look(ctx context.Context) error { return p.look(ctx) }

// NoticeLife is noticeLife.
const NoticeLife = noticeLife

// SetNodeTime sets nodeTime until the test ends.
func SetNodeTime(t *testing.T, d time.Duration) {
	before := nodeTime
	nodeTime = d
	t.Cleanup(func() { nodeTime = before })
}

// Hold is hold.
func (s *Shared) Hold(ctx context.Context, do func(context.Context) error) error {
	return s.hold(ctx, do)
}

// Add is add.
func (s *Shared) Add(ctx context.Context, line Line) error { return s.add(ctx, line) }

// Refresh is refresh.
func (s *Shared) Refresh(ctx context.Context) error { return s.refresh(ctx) }
