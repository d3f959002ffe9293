package redisstore_test

import (
	"context"
	"log"
	"log/slog"

	"github.com/redis/go-redis/v9"
	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/redisstore"
	"github.com/usher-auth/usher/session"
)

// Codes, consents and sessions in a Redis that Sentinel watches. Redeeming a code and
// signing out wait until a replica knows of it.
func Example() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		MasterName: "usher",
		Addrs:      []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"},
	})
	defer client.Close()
	store, err := redisstore.New(context.Background(), redisstore.Config{
		Client:   client,
		Replicas: 1,
		Logger:   slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = authorize.Config{
		Codes:   store,
		Consent: &authorize.Consent{Page: "/consent", Store: store},
	}
	_ = session.Config{Store: store}
}
