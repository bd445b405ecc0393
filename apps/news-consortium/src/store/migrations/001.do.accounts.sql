-- Who may do what.

CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  -- scrypt, with its parameters and salt: see passwords.ts
  password text NOT NULL,
  role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'administrator')),
  -- of the request that made it: a repeat of that request is no error
  key text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
  id uuid PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  expires_at timestamptz NOT NULL,
  closed_at timestamptz
);
CREATE INDEX ON sessions (expires_at);

-- Tries to log in under a name, there or not, since the window began: all agents count here.
CREATE TABLE login_attempts (
  name text PRIMARY KEY,
  attempts integer NOT NULL,
  since timestamptz NOT NULL
);
CREATE INDEX ON login_attempts (since);

-- The key that all agents and nodes sign and check tokens with: 244 random bits, made once, here.
CREATE TABLE signing_key (
  id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  key bytea NOT NULL
);
INSERT INTO signing_key (key) VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
