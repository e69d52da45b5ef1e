package postgres

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"konto/events"
)

//go:embed migrations/*.sql
var migrations embed.FS

// idLength is how many bytes identify a log.
const idLength = 16

// newestSchema returns the version of the schema that this konto makes.
func newestSchema() (version int64, err error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		number, err := goose.NumericComponent(path.Base(file))
		if err != nil {
			return 0, err
		}
		version = max(version, number)
	}
	return version, nil
}

// migrate brings the schema up to date. Nodes that start together wait for one another.
func migrate(ctx context.Context, cfg *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*cfg.Copy())
	defer db.Close()
	if _, err := db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS log; CREATE SCHEMA IF NOT EXISTS cluster`); err != nil {
		return fmt.Errorf("make the log's schema: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName("log.schema_version"), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the log's schema: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the log's schema has version %d, which is newer than %d, the newest that this konto knows", current, newest)
	}
	if current < newest {
		if _, err := provider.Up(ctx); err != nil {
			return fmt.Errorf("bring the log's schema up to date: %w", err)
		}
	}
	id := make([]byte, idLength)
	rand.Read(id) // never fails
	_, errMeta := db.ExecContext(ctx, `INSERT INTO log.meta (id, claim_rule, shared) VALUES ($1, $2, false) ON CONFLICT DO NOTHING`, id, events.ClaimRule)
	_, errHead := db.ExecContext(ctx, `INSERT INTO log.head (position, hash) VALUES (0, $1) ON CONFLICT DO NOTHING`, make([]byte, 32))
	return errors.Join(errMeta, errHead)
}
