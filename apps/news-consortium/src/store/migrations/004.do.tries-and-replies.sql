-- What was answered under a key is answered again, and a key that comes with another request is refused. Keys of before this have nothing to compare with.
DELETE FROM done;
ALTER TABLE done ADD COLUMN hash bytea NOT NULL, ADD COLUMN reply jsonb;

-- A login that is asked again under its key opens one session.
ALTER TABLE sessions ADD COLUMN key text;
CREATE UNIQUE INDEX ON sessions (user_id, key);

-- Logins under a name, there or not, that failed or are looked at: all agents see them. Those of one key are one try.
DROP TABLE login_attempts;
CREATE TABLE login_tries (
  name text NOT NULL,
  -- the address that it came from
  source text NOT NULL,
  key text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  failed boolean NOT NULL DEFAULT false,
  -- By then whoever asked has gone: another may look at it.
  looked_until timestamptz NOT NULL,
  PRIMARY KEY (name, source, key)
);
CREATE INDEX ON login_tries (at);
-- Where users have logged in from: who tries from elsewhere does not keep them out.
CREATE TABLE login_sources (
  user_id bigint NOT NULL REFERENCES users,
  source text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, source)
);
CREATE INDEX ON login_sources (at);
