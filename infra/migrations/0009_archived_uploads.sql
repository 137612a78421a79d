-- A month of the log that has grown old lies in the bucket `archive`. What stays here of its uploads is what must be
-- found without it: by whom they are erased, and that their end is in the log.

CREATE TABLE darkroom.archived_upload (
    upload_id   uuid NOT NULL,
    upload_time timestamptz NOT NULL,
    task_id     uuid,
    status      darkroom.status NOT NULL,
    retries     integer NOT NULL,
    erased      boolean NOT NULL,
    PRIMARY KEY (upload_id, upload_time)
);

COMMENT ON TABLE darkroom.archived_upload IS 'Uploads whose row and events lie in the bucket `archive`, under log/.';

CREATE INDEX archived_upload_task ON darkroom.archived_upload (task_id);

-- Months on their way out: their files are stored, and their rows are deleted a few thousand at a time.
CREATE SCHEMA darkroom_left;
