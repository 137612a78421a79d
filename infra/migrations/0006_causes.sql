-- Why photos fail is asked by size, concurrency and memory, and that of those that failed, too; how long they take, by
-- workflow, and by scale.

ALTER TABLE darkroom.restoration_log ADD COLUMN scale double precision;
ALTER TABLE darkroom.restoration_log ADD COLUMN tile_px integer;
ALTER TABLE darkroom.restoration_log ADD COLUMN concurrency integer;

COMMENT ON COLUMN darkroom.restoration_log.scale IS 'Sides of the result by those of the upload, where a parameter says it.';
COMMENT ON COLUMN darkroom.restoration_log.tile_px IS 'Longer side of a tile; the smallest that was tried, where memory was short [px].';
COMMENT ON COLUMN darkroom.restoration_log.concurrency IS 'Photos that its worker had in hand when this one came to the device.';
COMMENT ON COLUMN darkroom.restoration_log.duration_seconds IS 'Time that a worker spent on it: the last attempt, whether it succeeded or failed.';
COMMENT ON COLUMN darkroom.restoration_log.queue_seconds IS 'Time that it waited, from the decision of the handler on.';

CREATE INDEX restoration_log_workflow ON darkroom.restoration_log (workflow_type, upload_time, scale);
