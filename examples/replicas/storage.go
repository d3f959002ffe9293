package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/redisstore"
	"github.com/usher-auth/usher/authorize/sqlstore"
	"github.com/usher-auth/usher/session"
)

// stores are the stores of a provider. All its replicas use the same ones.
type stores struct {
	clients  authorize.ClientStore
	codes    authorize.CodeStore
	consents authorize.ConsentStore
	sessions session.Store
}

// places are the addresses of the storage. If all are empty, it is the memory of this process.
type places struct{ PostgreSQL, Redis, SQLite string }

// region open

// open returns the stores. A program of your own has one of these lines.
func (p places) open(ctx context.Context, clients ...authorize.Client) (stores, error) {
	switch p.kinds() {
	case "memory":
		return inMemory(clients...), nil
	case "SQLite":
		return inSQLite(ctx, p.SQLite, clients...)
	case "PostgreSQL":
		return inPostgreSQL(ctx, p.PostgreSQL, clients...)
	case "Redis":
		return inRedis(ctx, p.Redis, clients...)
	case "PostgreSQL and Redis":
		return inPostgreSQLAndRedis(ctx, p.PostgreSQL, p.Redis, clients...)
	}
	return stores{}, errors.New("an SQLite file stores everything: use no other storage with it")
}

// endregion

// kinds returns the name of the storage.
func (p places) kinds() string {
	switch {
	case p == places{}:
		return "memory"
	case p == places{SQLite: p.SQLite}:
		return "SQLite"
	case p == places{PostgreSQL: p.PostgreSQL}:
		return "PostgreSQL"
	case p == places{Redis: p.Redis}:
		return "Redis"
	case p.SQLite == "":
		return "PostgreSQL and Redis"
	}
	return "too much"
}

// inMemory keeps everything in this process, where no other replica can read it.
func inMemory(clients ...authorize.Client) stores {
	memory := authorize.NewMemory(authorize.MemoryConfig{Clients: clients})
	return stores{memory, memory, memory, session.NewMemory(session.MemoryConfig{})}
}

// inSQLite keeps everything in a file, for all replicas on one machine. After a crash of the
// machine, used codes and ended sessions stay so.
func inSQLite(ctx context.Context, file string, clients ...authorize.Client) (stores, error) {
	const options = "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_txlock=immediate"
	store, err := inSQL(ctx, sqlstore.SQLite, "sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+options, clients)
	return stores{store, store, store, store}, err
}

// inPostgreSQL keeps everything in a database.
func inPostgreSQL(ctx context.Context, address string, clients ...authorize.Client) (stores, error) {
	store, err := inSQL(ctx, sqlstore.PostgreSQL, "pgx", address, clients)
	return stores{store, store, store, store}, err
}

// inRedis keeps codes, consents and sessions in Redis. Clients stay in the program.
func inRedis(ctx context.Context, address string, clients ...authorize.Client) (stores, error) {
	options, err := redis.ParseURL(address)
	if err != nil {
		return stores{}, err
	}
	store, err := redisstore.New(ctx, redisstore.Config{Client: redis.NewClient(options), Logger: slog.Default()})
	return stores{inMemory(clients...).clients, store, store, store}, err
}

// inPostgreSQLAndRedis keeps clients and consents in the database, which last long, and codes
// and sessions in Redis.
func inPostgreSQLAndRedis(ctx context.Context, database, cache string, clients ...authorize.Client) (stores, error) {
	lasting, err := inPostgreSQL(ctx, database, clients...)
	if err != nil {
		return stores{}, err
	}
	brief, err := inRedis(ctx, cache)
	return stores{lasting.clients, brief.codes, lasting.consents, brief.sessions}, err
}

// inSQL opens the store, creates its tables and saves these clients. Many replicas may do
// this at once.
func inSQL(
	ctx context.Context, dialect sqlstore.Dialect, driver, source string, clients []authorize.Client,
) (*sqlstore.Store, error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: dialect, Logger: slog.Default()})
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	for _, client := range clients {
		if err := store.PutClient(ctx, client); err != nil {
			return nil, err
		}
	}
	return store, nil
}
