-- The statements of handlers/audit_log/old_months.py, by name. {live} is the partition of a month. Once its files
-- are stored it goes to the schema darkroom_left: it is no longer a part of the log then, and is emptied step by step.

-- name: months
-- Every month that has a partition, and every one that an earlier run left half emptied.
SELECT relname AS name, n.nspname = 'darkroom_left' AS is_left
FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname IN ('darkroom', 'darkroom_left') AND relkind = 'r' AND relname ~ '^restoration_log_[0-9]{{4}}_[0-9]{{2}}$'
ORDER BY relname

-- name: columns
SELECT column_name AS name, CASE data_type WHEN 'USER-DEFINED' THEN udt_name ELSE data_type END AS type
FROM information_schema.columns WHERE table_schema = 'darkroom' AND table_name = %(table)s ORDER BY ordinal_position

-- name: alone
-- Of the session: free again as soon as its process is gone.
SELECT pg_try_advisory_lock(hashtextextended('darkroom.archive', 0))

-- name: state
-- Changes with every row that is written.
SELECT count(*) AS rows, max(updated_at) AS newest FROM darkroom.{live}

-- name: log_of_month
SELECT to_jsonb(l)::text FROM darkroom.{live} l

-- name: events_of_month
SELECT to_jsonb(e)::text FROM darkroom.{live} l JOIN darkroom.restoration_event e USING (upload_id, upload_time)

-- name: log_between
SELECT to_jsonb(l)::text FROM darkroom.restoration_log l
WHERE upload_time >= %(since)s::timestamptz AND upload_time < %(until)s::timestamptz

-- name: events_between
SELECT to_jsonb(e)::text FROM darkroom.restoration_event e
WHERE upload_time >= %(since)s::timestamptz AND upload_time < %(until)s::timestamptz

-- name: gather
-- What came late of a month that is archived lies in the default partition, as writers remember which months had one.
SELECT count(darkroom.ensure_month(month)) FROM (
    SELECT DISTINCT date_trunc('month', upload_time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS month
    FROM darkroom.restoration_log_default
) AS months

-- name: index
INSERT INTO darkroom.archived_upload AS a (upload_id, upload_time, task_id, status, retries, erased)
SELECT * FROM json_to_recordset(%(rows)s) AS r (
    upload_id uuid, upload_time timestamptz, task_id uuid, status darkroom.status, retries integer, erased boolean
)
ON CONFLICT (upload_id, upload_time) DO UPDATE SET task_id = coalesce(excluded.task_id, a.task_id),
    status = excluded.status, retries = excluded.retries, erased = a.erased OR excluded.erased

-- name: detach
ALTER TABLE darkroom.restoration_log DETACH PARTITION darkroom.{live};
ALTER TABLE darkroom.{live} SET SCHEMA darkroom_left

-- name: empty
-- Events of an upload of which the log was told again meanwhile stay: they are archived with it.
WITH few AS (SELECT upload_id, upload_time FROM darkroom_left.{live} LIMIT %(most)s), events AS (
    DELETE FROM darkroom.restoration_event e USING few s
    WHERE (e.upload_id, e.upload_time) = (s.upload_id, s.upload_time) AND NOT EXISTS (
        SELECT 1 FROM darkroom.restoration_log l
        WHERE (l.upload_id, l.upload_time) = (s.upload_id, s.upload_time)
    )
)
DELETE FROM darkroom_left.{live} o USING few s WHERE (o.upload_id, o.upload_time) = (s.upload_id, s.upload_time)
RETURNING o.upload_id

-- name: drop
DROP TABLE darkroom_left.{live}
