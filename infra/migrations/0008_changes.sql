-- What changed of one user's uploads since a moment: GET /v1/events asks every second.

CREATE INDEX restoration_log_user_updated ON darkroom.restoration_log (user_id, updated_at, upload_id);
