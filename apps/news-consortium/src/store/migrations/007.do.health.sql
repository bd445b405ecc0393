-- Where agents ask whether a node is well; NULL where that is its address.
ALTER TABLE nodes ADD COLUMN health_address text;
