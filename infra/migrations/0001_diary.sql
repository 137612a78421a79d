-- The diary: what happened to every upload. It is written late and can be rebuilt from the bucket, so nothing here is
-- needed to restore a photo. `restoration_event` keeps the facts as they arrived; `restoration_log` is their sum.

CREATE SCHEMA IF NOT EXISTS darkroom;

-- In the order of rank: the row of an upload has the greatest status that any of its events names.
CREATE TYPE darkroom.status AS ENUM ('queued', 'processing', 'rejected', 'failed', 'duplicate', 'success');

CREATE TABLE darkroom.restoration_log (
    upload_id         uuid NOT NULL,
    upload_time       timestamptz NOT NULL,
    task_id           uuid,
    user_id           text,
    image_filename    text,
    workflow_type     text,
    workflow_version  integer,
    model_size        integer,
    params            jsonb,
    signature         text,
    status            darkroom.status NOT NULL,
    error_code        text,
    error_detail      text,
    result_url        text,
    duration_seconds  double precision,
    queue_seconds     double precision,
    attempts          integer,
    width             integer,
    height            integer,
    bytes             bigint,
    sha256            text,
    engine            text,
    device            text,
    peak_memory_bytes bigint,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (upload_id, upload_time)
) PARTITION BY RANGE (upload_time);

COMMENT ON TABLE darkroom.restoration_log IS 'One row per upload: the sum of its events. See restoration_event.';
COMMENT ON COLUMN darkroom.restoration_log.upload_time IS 'LastModified of the uploaded object, by the store''s clock.';
COMMENT ON COLUMN darkroom.restoration_log.user_id IS 'Pseudonym: HMAC-SHA256 of the user''s name, 64 hex digits.';
COMMENT ON COLUMN darkroom.restoration_log.width IS 'Of the upload, by its header [px]; the result''s is in the record.';
COMMENT ON COLUMN darkroom.restoration_log.duration_seconds IS 'From the start of the work to its record.';
COMMENT ON COLUMN darkroom.restoration_log.queue_seconds IS 'From the decision of the handler to the start of the work.';

CREATE INDEX restoration_log_user ON darkroom.restoration_log (user_id, upload_time, status);
CREATE INDEX restoration_log_time ON darkroom.restoration_log (upload_time DESC, upload_id DESC);
CREATE INDEX restoration_log_status ON darkroom.restoration_log (status, upload_time DESC, upload_id DESC);
CREATE INDEX restoration_log_task ON darkroom.restoration_log (task_id);

CREATE TABLE darkroom.restoration_log_default PARTITION OF darkroom.restoration_log DEFAULT;

CREATE TABLE darkroom.restoration_event (
    event_id    uuid PRIMARY KEY,
    upload_id   uuid NOT NULL,
    upload_time timestamptz NOT NULL,
    task_id     uuid,
    kind        darkroom.status NOT NULL,
    at          timestamptz NOT NULL,
    fields      jsonb NOT NULL
);

COMMENT ON TABLE darkroom.restoration_event IS
    'Append-only. event_id is derived by whoever saw the fact, so a fact that is told twice is one row.';

CREATE INDEX restoration_event_upload ON darkroom.restoration_event (upload_id, upload_time);

CREATE TABLE darkroom.audit_reject (
    digest text PRIMARY KEY,
    body   text NOT NULL,
    reason text NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE darkroom.audit_reject IS 'Events that the tables above refused, as JSON, once each, with the reason.';

-- The later value wins, key by key: merged(fields ORDER BY rank, at, event_id).
CREATE AGGREGATE darkroom.merged (jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');

-- Makes the partition of a month, moving what the default partition holds of it. Months far from any real clock stay
-- in the default partition: one absurd event must not make a table.
CREATE FUNCTION darkroom.ensure_month(moment timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    month     timestamp   := date_trunc('month', moment AT TIME ZONE 'UTC');
    begins    timestamptz := month AT TIME ZONE 'UTC';
    ends      timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
    partition text        := format('restoration_log_%s', to_char(month, 'YYYY_MM'));
BEGIN
    IF moment < '2000-01-01' OR moment > now() + interval '40 days' THEN
        RETURN 'restoration_log_default';
    END IF;
    IF to_regclass('darkroom.' || partition) IS NOT NULL THEN
        RETURN partition;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('darkroom.ensure_month', 0));
    IF to_regclass('darkroom.' || partition) IS NULL THEN
        LOCK TABLE darkroom.restoration_log IN SHARE ROW EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE darkroom.%I (LIKE darkroom.restoration_log INCLUDING ALL)', partition);
        EXECUTE format(
            'WITH moved AS (DELETE FROM darkroom.restoration_log_default
                            WHERE upload_time >= %L AND upload_time < %L RETURNING *)
             INSERT INTO darkroom.%I SELECT * FROM moved', begins, ends, partition);
        EXECUTE format(
            'ALTER TABLE darkroom.restoration_log ATTACH PARTITION darkroom.%I FOR VALUES FROM (%L) TO (%L)',
            partition, begins, ends);
    END IF;
    RETURN partition;
END $$;
