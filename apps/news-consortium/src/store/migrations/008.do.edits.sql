-- When an item got another text; NULL where it has that of its post. The hash stays that of the post, whose late repeat is known by it.
ALTER TABLE news ADD edited_at timestamptz;
