package door

import (
	"context"
	"errors"

	"doorward"
	"doorward/store"
)

// OpenStore opens the database that c names; unlock, which may be nil, gives up being the only
// server on it, and comes after the store's Close.
func OpenStore(ctx context.Context, c Config) (kept doorward.Store, unlock func() error, err error) {
	c = c.WithDefaults()
	if c.Store != nil {
		return c.Store, nil, nil
	}
	if c.PostgreSQL != nil {
		kept, err := store.OpenPostgres(ctx, string(c.PostgreSQL))
		if err != nil {
			return nil, nil, err
		}
		return kept, nil, nil
	}
	if unlock, err = lockDatabase(c.SQLite); err != nil {
		return nil, nil, err
	}
	lite, err := store.OpenSQLite(ctx, c.SQLite, c.Now)
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return lite, unlock, nil
}
