-- The statements of handlers/audit_log/statistics.py, by name. Each counts the uploads that {conditions} leave.
-- Sizes and memory are told in classes, whose bounds are given: 0 is below the first of them.

-- name: workflows
SELECT workflow_type AS workflow, count(*) AS uploads,
       count(*) FILTER (WHERE status = 'success') AS success,
       count(*) FILTER (WHERE status = 'duplicate') AS duplicate,
       count(*) FILTER (WHERE status = 'rejected') AS rejected,
       count(*) FILTER (WHERE status = 'failed' AND error_code NOT IN ('cancelled', 'erased')) AS failed,
       count(*) FILTER (WHERE error_code IN ('cancelled', 'erased')) AS withdrawn,
       count(*) FILTER (WHERE status IN ('queued', 'processing')) AS waiting
FROM darkroom.restoration_log WHERE {conditions}
GROUP BY 1 ORDER BY uploads DESC, workflow

-- name: days
SELECT (upload_time AT TIME ZONE 'UTC')::date AS day, count(*) AS uploads,
       count(*) FILTER (WHERE status = 'success') AS success,
       count(*) FILTER (WHERE status = 'failed' AND error_code NOT IN ('cancelled', 'erased')) AS failed
FROM darkroom.restoration_log WHERE {conditions}
GROUP BY 1 ORDER BY 1

-- name: sizes
SELECT width_bucket(width::float8 * height / 1e6, %(size_bounds)s::float8[]) AS size,
       coalesce(scale, (params->>'scale')::float8) AS scale, model_size, count(*) AS uploads
FROM darkroom.restoration_log WHERE {conditions}
GROUP BY 1, 2, 3 ORDER BY uploads DESC, 1, 2, 3 LIMIT %(limit)s

-- name: failures
-- Of each cause how many photos it ended, and of how many of the same size, on the same device, beside as many others
-- and with as much memory. What came to no device has neither device, nor concurrency, nor memory.
SELECT * FROM (
    SELECT error_code, size, concurrency, memory, device, sum(uploads)::bigint AS failures,
           sum(sum(uploads)) OVER (PARTITION BY size, concurrency, memory, device)::bigint AS ended
    FROM (
        SELECT CASE WHEN status IN ('failed', 'rejected') THEN error_code END AS error_code,
               width_bucket(width::float8 * height / 1e6, %(size_bounds)s::float8[]) AS size, concurrency,
               width_bucket(coalesce(peak_device_memory_bytes, peak_memory_bytes) / 1073741824.0::float8,
                            %(memory_bounds)s::float8[]) AS memory,
               device, count(*) AS uploads
        FROM darkroom.restoration_log
        WHERE {conditions} AND status IN ('success', 'failed', 'rejected')
          AND (error_code IS NULL OR error_code NOT IN ('cancelled', 'erased'))
        GROUP BY 1, 2, 3, 4, 5
    ) AS counted
    GROUP BY 1, 2, 3, 4, 5
) AS cells
WHERE error_code IS NOT NULL ORDER BY failures DESC, error_code, size, concurrency, memory, device LIMIT %(limit)s

-- name: seconds
SELECT workflow_type AS workflow, width_bucket(width::float8 * height / 1e6, %(size_bounds)s::float8[]) AS size,
       count(*) AS photos, avg(duration_seconds) AS mean_s,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_seconds) AS p50_s,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_seconds) AS p95_s,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_seconds) AS p99_s,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY queue_seconds) AS waited_p95_s
FROM darkroom.restoration_log WHERE {conditions} AND status = 'success' AND duration_seconds IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2

-- name: duplicates
SELECT workflow_type AS workflow, width_bucket(width::float8 * height / 1e6, %(size_bounds)s::float8[]) AS size,
       count(*) AS uploads
FROM darkroom.restoration_log WHERE {conditions} AND status = 'duplicate'
GROUP BY 1, 2

-- name: bursts
SELECT date_trunc('minute', upload_time) AS minute, count(*) AS uploads, count(DISTINCT user_id) AS users
FROM darkroom.restoration_log WHERE {conditions}
GROUP BY 1 ORDER BY uploads DESC, minute DESC LIMIT 10

-- name: users
SELECT user_id AS user, count(*) AS uploads,
       count(*) FILTER (WHERE status = 'success') AS restored,
       count(*) FILTER (WHERE status = 'duplicate') AS duplicates,
       count(*) FILTER (WHERE status IN ('failed', 'rejected')) AS without_result,
       coalesce(sum(width::float8 * height / 1e6) FILTER (WHERE status = 'success'), 0) AS megapixels,
       coalesce(sum(bytes), 0)::bigint AS bytes,
       coalesce(sum(duration_seconds), 0) AS seconds
FROM darkroom.restoration_log WHERE {conditions} AND user_id IS NOT NULL
GROUP BY 1 ORDER BY seconds DESC, uploads DESC, 1 LIMIT %(limit)s

-- name: devices
-- What was done on each device of late, and when it last said so.
SELECT device, engine, count(*) FILTER (WHERE status = 'success') AS restored,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       coalesce(sum(duration_seconds), 0) AS busy_s, max(updated_at) AS last_at
FROM darkroom.restoration_log WHERE device IS NOT NULL AND {conditions}
GROUP BY 1, 2 ORDER BY last_at DESC LIMIT %(limit)s
