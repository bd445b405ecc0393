-- Areas, their news, and who has read what.

CREATE TABLE areas (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  -- how many nodes are to serve it
  wanted integer NOT NULL CHECK (wanted BETWEEN 1 AND 100),
  -- of the last post. Posts of an area change this row one after the other, so numbers become visible in their order, and what
  -- has seen number n will never see a lower one appear.
  last_number bigint NOT NULL DEFAULT 0,
  -- A removed area keeps its row, so that its numbers are never given twice.
  removed_at timestamptz
) WITH (fillfactor = 50); -- room for the versions of a row that every post changes

CREATE TABLE news (
  area_id bigint NOT NULL REFERENCES areas,
  number bigint NOT NULL,
  author_id bigint NOT NULL REFERENCES users,
  -- the idempotency key of the post
  key text NOT NULL,
  -- NULL when it was deleted: the row stays, so that a late repeat of the post does not bring it back, and so does the hash, so that it is known as one.
  text text,
  hash bytea NOT NULL,
  posted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (area_id, number),
  UNIQUE (author_id, key)
);

-- Everything up to read_through was read, deleted, or there before the subscription.
CREATE TABLE subscriptions (
  user_id bigint NOT NULL REFERENCES users,
  area_id bigint NOT NULL REFERENCES areas,
  read_through bigint NOT NULL,
  PRIMARY KEY (user_id, area_id)
);
CREATE INDEX ON subscriptions (area_id);

-- Items above read_through that were given to a reader: held until the lease ends, or read.
CREATE TABLE offers (
  user_id bigint NOT NULL,
  area_id bigint NOT NULL,
  number bigint NOT NULL,
  leased_until timestamptz NOT NULL,
  read boolean NOT NULL DEFAULT false,
  PRIMARY KEY (user_id, area_id, number),
  FOREIGN KEY (user_id, area_id) REFERENCES subscriptions ON DELETE CASCADE
);

-- Keys of requests that were done and must not be done again, for the opposite may have been done since: subscribing, unsubscribing, changes of areas. A
-- request that lay in the socket of a hung node comes late, perhaps by hours; after a day its keys are forgotten.
CREATE TABLE done (
  user_id bigint NOT NULL REFERENCES users,
  key text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX ON done (at);
