package sqlite

import (
	"context"
	"database/sql"
	"iter"

	"konto/eventstore"
)

// ClaimRule implements eventstore.ClaimRules.
func (l *Log) ClaimRule(ctx context.Context) (rule eventstore.ClaimRule, err error) {
	if err := l.begin(ctx); err != nil {
		return rule, err
	}
	defer l.mu.RUnlock()
	var found int
	if err := l.readers.QueryRowContext(ctx, "SELECT format FROM meta").Scan(&found); err != nil {
		return rule, l.failed("read", err)
	}
	if found == 1 {
		return eventstore.ClaimRule{Number: 1}, nil
	}
	if err := l.readers.QueryRowContext(ctx, "SELECT claims, shared FROM meta").Scan(&rule.Number, &rule.Shared); err != nil {
		return rule, l.failed("read", err)
	}
	return rule, nil
}

// ReplaceClaims implements eventstore.ClaimRules in one transaction. After a crash the file has
// either the old claims and rule or the new ones. Both tables are created again, because
// those of format 1 have other columns. An append would wait meanwhile for the writer's only
// connection.
func (l *Log) ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	l.mu.RUnlock() // held reads the log, and would wait for a Close that waits for this lock
	if err := l.replaceClaims(ctx, rule, held); err != nil {
		return l.failed("write to", err)
	}
	return nil
}

func (l *Log) replaceClaims(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
	tx, err := l.writer.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var id []byte
	if err := tx.QueryRowContext(ctx, `SELECT id FROM meta`).Scan(&id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DROP TABLE meta; DROP TABLE claims;"+meta+claims); err != nil {
		return err
	}
	take, err := tx.PrepareContext(ctx, `INSERT OR IGNORE INTO claims (key, stream) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer take.Close()
	for c, err := range held {
		if err != nil {
			return err
		}
		if _, err := take.ExecContext(ctx, c.Key[:], c.Stream); err != nil {
			return err
		}
	}
	made := eventstore.ClaimRule{Number: rule}
	const shared = `SELECT EXISTS (SELECT 1 FROM claims GROUP BY key HAVING count(*) > 1)`
	if err := tx.QueryRowContext(ctx, shared).Scan(&made.Shared); err != nil {
		return err
	}
	if err := writeMeta(ctx, tx, id, made); err != nil {
		return err
	}
	return tx.Commit()
}

func writeMeta(ctx context.Context, tx *sql.Tx, id []byte, rule eventstore.ClaimRule) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO meta (format, id, claims, shared) VALUES (?, ?, ?, ?)`,
		format, id, rule.Number, rule.Shared)
	return err
}
