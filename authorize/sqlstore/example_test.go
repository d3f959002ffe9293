package sqlstore_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"log"
	"log/slog"
	"os"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/sqlstore"
	"github.com/usher-auth/usher/session"
)

// Clients, codes, consents and sessions in an SQLite file, and a key from the environment.
// The program imports the driver too: _ "modernc.org/sqlite". Package servertest runs it.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:usher.db?_pragma=journal_mode(WAL)"+
		"&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.SQLite, Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil { // creates missing tables; every replica may call it
		log.Fatal(err)
	}
	sessions, err := session.NewCookies(session.Config{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	secret, err := hex.DecodeString(os.Getenv("USHER_KEY")) // openssl rand -hex 32
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := authorize.New(authorize.Config{
		Issuer:   "https://accounts.example",
		Clients:  store,
		Codes:    store,
		Sessions: sessions,
		Login:    authorize.LoginURL("/login"),
		Consent:  &authorize.Consent{Page: "/consent", Store: store},
		Keys:     []authorize.Key{{Secret: secret}},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = endpoint
	client := authorize.Client{ID: "wiki", RedirectURIs: []string{"https://wiki.example/callback"}, Scopes: []string{"openid"}}
	if err := store.PutClient(ctx, client); err != nil {
		log.Fatal(err)
	}
}
