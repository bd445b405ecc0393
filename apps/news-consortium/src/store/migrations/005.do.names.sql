-- Names that look alike have one skeleton (domain/confusables.ts): there is one of them. NULL in names from before, of which several have one.
ALTER TABLE users ADD COLUMN skeleton text UNIQUE;
ALTER TABLE areas ADD COLUMN skeleton text UNIQUE;

-- Names from before there was a rule by which they are none: how they may be spelled, and how they are stored. Filled with this migration, and never after.
CREATE TABLE old_names (
  of text NOT NULL CHECK (of IN ('users', 'areas')),
  spelled text NOT NULL,
  name text NOT NULL,
  PRIMARY KEY (of, spelled)
);
