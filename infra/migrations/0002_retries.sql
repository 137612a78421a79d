-- A person may give a photo that had failed a fresh start: what is told of it afterwards carries the number of the retry,
-- and withdraws the attempts and the failure before it.

ALTER TABLE darkroom.restoration_log ADD COLUMN retries integer NOT NULL DEFAULT 0;

COMMENT ON COLUMN darkroom.restoration_log.retries IS 'How often a person gave it a fresh start after it had failed.';
