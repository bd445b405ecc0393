-- Which node serves what, and which agent decides that.

CREATE TABLE nodes (
  -- of one start of a node: after a restart it is another one
  id uuid PRIMARY KEY,
  name text NOT NULL,
  address text NOT NULL UNIQUE,
  -- It wants to stop, and goes as soon as others serve its areas.
  leaving boolean NOT NULL DEFAULT false,
  joined_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE assignments (
  area_id bigint NOT NULL REFERENCES areas ON DELETE CASCADE,
  node_id uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
  PRIMARY KEY (area_id, node_id)
);
CREATE INDEX ON assignments (node_id);

-- The deciding agent writes its beat on the connection that holds the advisory lock. A beat that stands still is a holder that hangs.
CREATE TABLE deciding (
  id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  agent text NOT NULL DEFAULT '',
  epoch bigint NOT NULL DEFAULT 0,
  beat bigint NOT NULL DEFAULT 0
);
INSERT INTO deciding DEFAULT VALUES;

-- Whoever changes what assignments follow from, and whoever changes assignments, wakes those that listen, in the same transaction.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(TG_ARGV[0], '');
  RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR DELETE OR UPDATE ON nodes FOR EACH STATEMENT EXECUTE FUNCTION tell('topology');
CREATE TRIGGER tell AFTER INSERT OR DELETE OR UPDATE OF wanted, removed_at ON areas FOR EACH STATEMENT EXECUTE FUNCTION tell('topology');
CREATE TRIGGER tell AFTER INSERT OR DELETE ON assignments FOR EACH STATEMENT EXECUTE FUNCTION tell('assignments');
