-- What the look at a photo left out, and why: people ask that of the log.

ALTER TABLE darkroom.restoration_log ADD COLUMN skipped jsonb;

COMMENT ON COLUMN darkroom.restoration_log.skipped IS 'Steps that the look at the photo left out, and why.';
