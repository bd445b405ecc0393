-- What became of items after their posts, in the order in which it was done, for those who watch. An area counts it as it counts its posts: both change the
-- area's row, and hold it until they have committed.
ALTER TABLE areas ADD last_change bigint NOT NULL DEFAULT 0;
CREATE TABLE changes (
  area_id bigint NOT NULL REFERENCES areas,
  change bigint NOT NULL,
  -- the item that got another text or, where it has none, was deleted
  number bigint NOT NULL,
  -- the area's last post until then: what is above was posted later
  behind bigint NOT NULL,
  PRIMARY KEY (area_id, change)
);
