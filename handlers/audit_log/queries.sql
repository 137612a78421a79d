-- The statements of handlers/audit_log/database.py, by name. A comment under a name says what the statement is for.

-- name: take_turn
-- Writers take turns, so that the sum of an upload's events (fold) sees every event there is.
SELECT pg_advisory_xact_lock(hashtextextended('darkroom.logbook', 0))

-- name: ensure_month
-- The partition of a month, made when its first row arrives.
SELECT darkroom.ensure_month(%(moment)s)

-- name: add_events
-- A whole batch as one JSON array: less work for both sides than a row of parameters for each event. Facts already
-- known are left out of what is returned: nothing changes for their uploads.
INSERT INTO darkroom.restoration_event (event_id, upload_id, upload_time, task_id, kind, at, fields)
SELECT * FROM json_to_recordset(%(events)s) AS e (
    event_id uuid, upload_id uuid, upload_time timestamptz, task_id uuid, kind darkroom.status, at timestamptz,
    fields jsonb
)
ON CONFLICT (event_id) DO NOTHING
RETURNING upload_id, upload_time

-- name: fold
-- The row of an upload is a function of the set of its events, so no order, repetition or delay changes it: the
-- status of the highest rank; of each column the value that the highest-ranked, then latest event gives it. Errors are
-- the exception: only the event that decided the status may say one. What an existing row knows beyond its events
-- (they may have been pruned) is kept. A retry withdraws the attempts and the failure before it. An erasure has the
-- last word whatever other events say, and `blank` follows. The columns are those of the table, so they are not listed
-- here; fields of events that are no columns are left out.
WITH touched AS (
    SELECT DISTINCT * FROM unnest(%(uploads)s::uuid[], %(times)s::timestamptz[]) AS t (upload_id, upload_time)
), numbered AS (
    SELECT e.*, coalesce((e.fields->>'retries')::integer, 0) AS of_retry,
           max(coalesce((e.fields->>'retries')::integer, 0)) OVER (PARTITION BY e.upload_id, e.upload_time) AS retries
    FROM touched JOIN darkroom.restoration_event e USING (upload_id, upload_time)
), sums AS (
    SELECT e.upload_id, e.upload_time, max(e.kind) AS status, max(e.retries) AS retries, darkroom.merged(
        '{"error_code": null, "error_detail": null}' || e.fields
            || CASE WHEN e.task_id IS NULL THEN '{}' ELSE jsonb_build_object('task_id', e.task_id) END
        ORDER BY e.fields->>'error_code' IS NOT DISTINCT FROM 'erased', e.kind, e.at, e.event_id
    ) AS fields
    FROM numbered e
    WHERE e.of_retry = e.retries OR e.kind NOT IN ('processing', 'failed') OR e.fields->>'error_code' = 'erased'
    GROUP BY e.upload_id, e.upload_time
)
INSERT INTO darkroom.restoration_log AS log
SELECT f.* FROM sums s, jsonb_populate_record(NULL::darkroom.restoration_log, s.fields || jsonb_build_object(
    'upload_id', s.upload_id, 'upload_time', s.upload_time, 'status', s.status, 'retries', s.retries, 'updated_at', now()
)) AS f
ON CONFLICT (upload_id, upload_time) DO UPDATE SET
    status = CASE WHEN excluded.retries > log.retries THEN excluded.status
                  ELSE greatest(log.status, excluded.status) END,
    error_code = CASE WHEN (excluded.retries, excluded.status) < (log.retries, log.status) THEN log.error_code
                      ELSE excluded.error_code END,
    error_detail = CASE WHEN (excluded.retries, excluded.status) < (log.retries, log.status) THEN log.error_detail
                        ELSE excluded.error_detail END,
    retries = greatest(log.retries, excluded.retries),
    attempts = CASE WHEN excluded.retries > log.retries THEN excluded.attempts
                    ELSE coalesce(excluded.attempts, log.attempts) END,
    /* each other column: the new value, else the old one */
    updated_at = now()
RETURNING error_code

-- name: blank
-- What the row and the events of an erased photo said of its user, taken away; it was never a success. A fault may
-- quote parameters; the erasure's own has the last word in the row.
WITH erased AS (
    SELECT DISTINCT e.upload_id, e.upload_time
    FROM unnest(%(uploads)s::uuid[], %(times)s::timestamptz[]) AS t (upload_id, upload_time)
    JOIN darkroom.restoration_event e USING (upload_id, upload_time) WHERE e.fields->>'error_code' = 'erased'
), events AS (
    UPDATE darkroom.restoration_event e SET fields = e.fields - %(personal)s::text[]
        - CASE WHEN e.fields->>'error_code' = 'erased' THEN '' ELSE 'error_detail' END
    FROM erased x WHERE (e.upload_id, e.upload_time) = (x.upload_id, x.upload_time)
)
UPDATE darkroom.restoration_log log SET /* each personal column: NULL */ status = 'failed'
FROM erased x WHERE (log.upload_id, log.upload_time) = (x.upload_id, x.upload_time)

-- name: reject
-- An event that the tables above refuse, once; of an erased photo none.
INSERT INTO darkroom.audit_reject (digest, body, reason) SELECT %(digest)s, %(body)s, %(reason)s
WHERE NOT EXISTS (
    SELECT 1 FROM darkroom.restoration_event e
    WHERE e.upload_id = %(upload_id)s::uuid AND e.fields->>'error_code' = 'erased'
) ON CONFLICT (digest) DO NOTHING

-- name: unreject
-- Rejected events of erased uploads, deleted: body and reason quote the event, and the digest proves a guess.
-- PostgreSQL cannot read every body as JSON, hence by what it contains.
DELETE FROM darkroom.audit_reject r USING unnest(%(uploads)s::text[]) AS u (upload_id)
WHERE strpos(r.body, u.upload_id) > 0

-- name: page
-- One page of uploads, newest first, after the cursor. Only the filters that are asked for are added (see database.py).
SELECT * FROM darkroom.restoration_log WHERE {conditions}
ORDER BY upload_time DESC, upload_id DESC LIMIT %(limit)s

-- name: rows_of_task
-- Every upload of one task: the one that was restored first.
SELECT * FROM darkroom.restoration_log WHERE task_id = %(task_id)s
ORDER BY status DESC, upload_time, upload_id LIMIT %(limit)s

-- name: events_of_uploads
-- What is known of some uploads of a task, in order. The same bytes at the same key, put at another time or by somebody
-- else, share the id.
SELECT e.event_id, e.upload_id, e.task_id, e.kind, e.at, e.fields
FROM unnest(%(uploads)s::uuid[], %(times)s::timestamptz[]) AS t (upload_id, upload_time)
JOIN darkroom.restoration_event e USING (upload_id, upload_time)
WHERE e.task_id IS NULL OR e.task_id = %(task_id)s ORDER BY e.at, e.kind, e.event_id LIMIT %(limit)s

-- name: ended
-- Which of these uploads have their end in the audit log, or in its archive: an erasure has the last word, and a failure is that of its retry.
SELECT l.upload_id
FROM unnest(%(upload_id)s::uuid[], %(upload_time)s::timestamptz[], %(at_least)s::darkroom.status[], %(retries)s::integer[],
            %(erased)s::boolean[]) AS t (upload_id, upload_time, at_least, retries, erased)
JOIN darkroom.restoration_log l USING (upload_id, upload_time)
WHERE l.error_code IS NOT DISTINCT FROM 'erased'
   OR (NOT t.erased AND l.status >= t.at_least AND l.retries >= t.retries)
UNION
SELECT a.upload_id
FROM unnest(%(upload_id)s::uuid[], %(upload_time)s::timestamptz[], %(at_least)s::darkroom.status[], %(retries)s::integer[],
            %(erased)s::boolean[]) AS t (upload_id, upload_time, at_least, retries, erased)
JOIN darkroom.archived_upload a USING (upload_id, upload_time)
WHERE a.erased OR (NOT t.erased AND a.status >= t.at_least AND a.retries >= t.retries)

-- name: twins
-- Uploads that shared the task of an erased one, and were put before its erasure: whoever erased it could not know of
-- them, as the log did not. Object times come in whole seconds: what may be younger is left.
SELECT DISTINCT twin.upload_id, twin.upload_time
FROM unnest(%(upload_id)s::uuid[], %(upload_time)s::timestamptz[]) AS t (upload_id, upload_time)
JOIN darkroom.restoration_event e USING (upload_id, upload_time)
JOIN darkroom.restoration_log twin ON twin.task_id = e.task_id
WHERE e.fields->>'error_code' = 'erased' AND twin.error_code IS DISTINCT FROM 'erased'
  AND twin.upload_time + interval '1 second' <= e.at
UNION
SELECT twin.upload_id, twin.upload_time
FROM unnest(%(upload_id)s::uuid[], %(upload_time)s::timestamptz[]) AS t (upload_id, upload_time)
JOIN darkroom.restoration_event e USING (upload_id, upload_time)
JOIN darkroom.archived_upload twin ON twin.task_id = e.task_id
WHERE e.fields->>'error_code' = 'erased' AND NOT twin.erased AND twin.upload_time + interval '1 second' <= e.at
  AND NOT EXISTS (
    SELECT 1 FROM darkroom.restoration_log l
    WHERE (l.upload_id, l.upload_time) = (twin.upload_id, twin.upload_time) AND l.error_code = 'erased'
  )

-- name: archived
-- Uploads of a task whose rows lie in the archive.
SELECT DISTINCT upload_id FROM darkroom.archived_upload WHERE task_id = %(task_id)s

-- name: uploads_of_task
SELECT upload_id FROM darkroom.restoration_log WHERE task_id = %(task_id)s
UNION
SELECT upload_id FROM darkroom.archived_upload WHERE task_id = %(task_id)s

-- name: counts
-- Uploads since a moment, by everything that a person asks for; the caller adds up what it shows.
SELECT (upload_time AT TIME ZONE 'UTC')::date AS day, workflow_type, model_size, status, error_code, count(*) AS uploads
FROM darkroom.restoration_log WHERE {conditions}
GROUP BY 1, 2, 3, 4, 5

-- name: by_status
-- How far the uploads of a job have come.
SELECT status, count(*) AS uploads FROM darkroom.restoration_log WHERE {conditions} GROUP BY 1

-- name: waiting
-- A user's uploads without an end. What has waited for longer than a week is the sweep's concern.
SELECT count(*) AS uploads FROM (
    SELECT 1 FROM darkroom.restoration_log
    WHERE user_id = %(user_id)s AND status IN ('queued', 'processing') AND upload_time > now() - interval '7 days'
    LIMIT %(most)s
) AS found

-- name: now
-- The clock of `updated_at`.
SELECT now() AS now

-- name: underway
-- A user's uploads without an end, the newest first. What has waited for longer than a week is the sweep's concern.
SELECT * FROM darkroom.restoration_log
WHERE user_id = %(user_id)s AND status IN ('queued', 'processing') AND upload_time > now() - interval '7 days'
ORDER BY upload_time DESC, upload_id DESC LIMIT %(limit)s

-- name: changed
-- A user's uploads in the order in which their rows changed.
SELECT * FROM darkroom.restoration_log
WHERE user_id = %(user_id)s AND (updated_at, upload_id) > (%(moment)s, %(upload_id)s::uuid)
ORDER BY updated_at, upload_id LIMIT %(limit)s

-- name: queue
-- Uploads that wait, before one of them or all, and uploads in work. Those of an hour ago may have a dead worker.
SELECT (
    SELECT count(*) FROM (
        SELECT 1 FROM darkroom.restoration_log
        WHERE status = 'queued' AND upload_time > now() - interval '7 days'
          AND (%(upload_id)s IS NULL OR (upload_time, upload_id) < (%(upload_time)s::timestamptz, %(upload_id)s::uuid))
        LIMIT %(most)s
    ) AS w
) AS waiting, (
    SELECT count(*) FROM (
        SELECT 1 FROM darkroom.restoration_log
        WHERE status = 'processing' AND upload_time > now() - interval '7 days' AND updated_at > now() - interval '1 hour'
        LIMIT %(most)s
    ) AS p
) AS in_work

-- name: paces
-- What the last photos took, by workflow: medians, which one stuck photo does not move.
SELECT workflow_type, count(*) AS photos,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_seconds) AS seconds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_seconds / (width::float8 * height)) AS seconds_per_pixel
FROM (
    SELECT workflow_type, duration_seconds, width, height FROM darkroom.restoration_log
    WHERE status = 'success' AND upload_time > now() - interval '7 days'
      AND duration_seconds IS NOT NULL AND width > 0 AND height > 0 AND workflow_type IS NOT NULL
    ORDER BY upload_time DESC, upload_id DESC LIMIT 500
) AS last
GROUP BY workflow_type
