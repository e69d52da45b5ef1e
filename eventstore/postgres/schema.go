package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"konto/events"
)

//go:embed migrations/*.sql migrations/keys/*.sql
var migrations embed.FS

// migrationLock is the advisory lock that is held while a schema is made or changed.
const migrationLock = 0x6b6f6e746f // "konto"

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

// migrate brings the schema of the log up to date.
func migrate(ctx context.Context, cfg *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*cfg.Copy())
	defer db.Close()
	if err := apply(ctx, db, "migrations", "log", "cluster"); err != nil {
		return fmt.Errorf("the log's schema: %w", err)
	}
	id := make([]byte, idLength)
	rand.Read(id) // never fails
	_, errMeta := db.ExecContext(ctx, `INSERT INTO log.meta (id, claim_rule, shared) VALUES ($1, $2, false) ON CONFLICT DO NOTHING`, id, events.ClaimRule)
	_, errHead := db.ExecContext(ctx, `INSERT INTO log.head (position, hash) VALUES (0, $1) ON CONFLICT DO NOTHING`, make([]byte, 32))
	return errors.Join(errMeta, errHead)
}

// apply makes schemas and applies the migrations in a folder. The first schema holds their version.
// Nodes that start together wait for one another.
func apply(ctx context.Context, db *sql.DB, folder string, schemas ...string) error {
	locked, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer locked.Close() // and releases the lock when db is closed
	if _, err := locked.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return err
	}
	for _, schema := range schemas {
		if _, err := locked.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+schema); err != nil {
			return fmt.Errorf("make it: %w", err)
		}
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(schemas[0]+".schema_version"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read its version: %w", err)
	}
	if current > newest {
		return fmt.Errorf("it has version %d, which is newer than %d, the newest that this konto knows; use a newer konto", current, newest)
	}
	if current < newest {
		if _, err := provider.Up(ctx); err != nil {
			return fmt.Errorf("bring it up to date: %w", err)
		}
	}
	return nil
}
