package erasure

import "context"

// Look is what Run does each time.
func (p *Process) Look(ctx context.Context) error { return p.look(ctx) }

// NoticeLife is noticeLife.
const NoticeLife = noticeLife
