-- Which job of an album or archive an upload is of: people ask the log how far a job is, and what failed in it.

ALTER TABLE darkroom.restoration_log ADD COLUMN ingest_id uuid;

COMMENT ON COLUMN darkroom.restoration_log.ingest_id IS 'The job of an album or archive that the upload is of.';

CREATE INDEX restoration_log_ingest
    ON darkroom.restoration_log (ingest_id, status, upload_time DESC, upload_id DESC) WHERE ingest_id IS NOT NULL;
