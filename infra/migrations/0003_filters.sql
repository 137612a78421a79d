-- A page of one user's photos by status or workflow. Where few match or none, a user with half a million photos waited
-- for a quarter of a second: everything of that user was read, or everything with that status.

CREATE INDEX restoration_log_user_status
    ON darkroom.restoration_log (user_id, status, upload_time DESC, upload_id DESC);
CREATE INDEX restoration_log_user_workflow
    ON darkroom.restoration_log (user_id, workflow_type, upload_time DESC, upload_id DESC);
