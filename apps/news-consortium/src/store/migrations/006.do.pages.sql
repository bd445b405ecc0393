-- What one page of anything costs does not grow with all that there is.

-- Items that are there: whoever reads passes over those that were deleted, however many.
CREATE INDEX news_there ON news (area_id, number) WHERE text IS NOT NULL;

-- Everything up to offered_through was offered, deleted, or there before the subscription. Of that only those offers are kept that were not marked, so a
-- reader who has read a million items here and there costs what he has in hand.
ALTER TABLE subscriptions RENAME read_through TO offered_through;
UPDATE subscriptions f SET offered_through = greatest(f.offered_through, o.last)
  FROM (SELECT user_id, area_id, max(number) AS last FROM offers GROUP BY user_id, area_id) o
  WHERE o.user_id = f.user_id AND o.area_id = f.area_id;
DELETE FROM offers WHERE read;
ALTER TABLE offers DROP read;

-- An area that comes back under its name is another one, with an id of its own, whose numbers go on: what was in it before is not found by any statement.
ALTER TABLE areas DROP CONSTRAINT areas_name_key;
CREATE UNIQUE INDEX areas_there ON areas (name) WHERE removed_at IS NULL;
CREATE INDEX areas_lives ON areas (name, id);

-- Of a removed area texts and subscriptions are cleared piece by piece: texts up to cleared_through are, and when it is done, clearing is false.
ALTER TABLE areas ADD clearing boolean NOT NULL DEFAULT false, ADD cleared_through bigint NOT NULL DEFAULT 0;
CREATE INDEX areas_clearing ON areas (id) WHERE clearing;

-- Whoever looks for a user in an area finds one row, by whichever end.
CREATE INDEX subscriptions_area ON subscriptions (area_id, user_id);
DROP INDEX subscriptions_area_id_idx;
