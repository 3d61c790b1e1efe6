package store

import (
	"context"

	"doorward"
)

// Device implements doorward.DeviceStore.
func (s *Store) Device(ctx context.Context, account string, shown []doorward.DeviceHash) (doorward.DeviceHash, bool, error) {
	var none doorward.DeviceHash
	if len(shown) == 0 {
		return none, false, nil
	}
	a := s.asker("read which browser this is")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return none, false, err
	}
	// Always as many, so that the text is one: the first stands for those there are not.
	args := []any{account, millis(now.Add(-doorward.DeviceLife))}
	for i := range doorward.MaxDevices {
		if i >= len(shown) {
			i = 0
		}
		args = append(args, shown[i][:])
	}
	var hash []byte
	found, err := a.get(ctx, []any{&hash}, `
		SELECT d.sha256 FROM devices d JOIN users u ON u.id = d.user_id
		WHERE u.canonical = $1 AND d.last > $2 AND d.sha256 IN ($3, $4, $5, $6, $7)
		LIMIT 1`, args...)
	if err != nil || !found {
		return none, false, err
	}
	return doorward.DeviceHash(hash), true, nil
}

// KeepDevice implements doorward.DeviceStore.
func (s *Store) KeepDevice(ctx context.Context, d doorward.Device) (bool, error) {
	kept := false
	err := s.write(ctx, "keep which browser this is", func(ctx context.Context, t *tx) error {
		var one int64
		var err error
		kept, err = t.get(ctx, []any{&one}, `
			SELECT 1 FROM users WHERE id = $1 AND disabled = 0 AND version = $2`+t.engine.rowLock, d.User, d.Version)
		if err != nil || !kept {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `
			INSERT INTO devices (sha256, user_id, returned, last) VALUES ($1, $2, 0, $3)
			ON CONFLICT (sha256) DO UPDATE SET returned = 1, last = excluded.last WHERE devices.user_id = excluded.user_id`,
			d.Hash[:], d.User, millis(now))
		if kept = n > 0; err != nil || !kept {
			return err
		}
		// Those never seen again go first: a program that signs in without keeping cookies
		// leaves one behind each time, and must not push the browsers out. (LIMIT is there for
		// an engine that knows no OFFSET without.)
		_, err = t.exec(ctx, `
			DELETE FROM devices WHERE sha256 IN (
				SELECT sha256 FROM devices WHERE user_id = $1 AND sha256 <> $2
				ORDER BY returned DESC, last DESC LIMIT 1000 OFFSET 15)`, d.User, d.Hash[:])
		return err
	})
	return kept && err == nil, err
}

// ForgetFailures implements doorward.DeviceStore.
func (s *Store) ForgetFailures(ctx context.Context, account, requestID string) error {
	return s.write(ctx, "forget the failed attempts of an account", func(ctx context.Context, t *tx) error {
		return t.clearFailures(ctx, account, requestID)
	})
}

// clearDeviceFailures forgets what was counted for the devices of account: under its name,
// a space and what tells the device. What sorts between the two bounds begins so.
func (t *tx) clearDeviceFailures(ctx context.Context, account string) error {
	_, err := t.exec(ctx, `DELETE FROM lockouts WHERE account > $1 AND account < $2`, account+" ", account+"!")
	return err
}

// voidDevices makes strangers of all browsers that a user has signed in with.
func (t *tx) voidDevices(ctx context.Context, user string) error {
	_, err := t.exec(ctx, `DELETE FROM devices WHERE user_id = $1`, user)
	return err
}
