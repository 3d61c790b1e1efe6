-- +goose Up

-- What is counted by the hour is counted in this index alone, however many entries there are;
-- the kind of the actor tells the sign-ins of people from those of machines, and the time is
-- there so that no row is looked at for what its hour is made of.
CREATE INDEX audit_hours ON audit (org, action, (time / 3600000), actor_kind, time)
	WHERE action = 'session.create' OR action = 'user.sign_in' OR action = 'user.lock';

CREATE INDEX lockouts_locked ON lockouts (locked_until) WHERE locked_until > 0;
