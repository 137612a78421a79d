#!/bin/sh
# Starts the object store from the environment alone: who may do what, and whom to notify of an upload.
# The two files with secrets are written to a tmpfs, so that nothing secret lies on a disk or in an image.
# Arguments are passed on to `weed server`.
set -eu
umask 077

run="${RUN_DIR:-/run/seaweedfs}"
data="${DATA_DIR:-/data}"

# The values are put into JSON and TOML as they are: refuse what would change their meaning.
for name in S3_ADMIN_SECRET_KEY S3_HANDLERS_SECRET_KEY S3_TICKET_SECRET_KEY S3_WORKER_SECRET_KEY \
    S3_CALLBACKS_SECRET_KEY S3_BACKUP_SECRET_KEY S3_CLIENT_SECRET_KEY BUCKET_UPLOADS BUCKET_RESULTS BUCKET_QUARANTINE BUCKET_ARCHIVE \
    BUCKET_ACCESS WEBHOOK_URL WEBHOOK_TOKEN; do
  eval "value=\${$name:-}"
  case "$value" in
    "") echo "seaweedfs.sh: $name is empty; infra/docker/make-env.sh writes every secret" >&2; exit 2 ;;
    *[!A-Za-z0-9:/._-]*) echo "seaweedfs.sh: $name may hold only letters, digits and : / . _ -" >&2; exit 2 ;;
  esac
done

# `rights GET LIST WRITE` prints the actions of one identity: buckets, or parts of one (`results/claims`), from which it
# may get objects, those that it may also list, and those in which it may also change them. `/*`: objects, and no setting of
# the bucket's, such as how long it keeps them.
rights() {
  list=""
  for place in $1 $2 $3; do list="$list\"Read:$place/*\","; done
  for place in $2 $3; do list="$list\"Read:$place\",\"List:$place\",\"List:$place/*\","; done
  for place in $3; do list="$list\"Write:$place/*\",\"Tagging:$place/*\","; done
  echo "[${list%,}]"
}

identity() {
  printf '{"name":"%s","credentials":[{"accessKey":"%s","secretKey":"%s"}],%s}' "$1" "$1" "$2" "$3"
}

results() {
  for part in "$@"; do printf '%s/%s ' "$BUCKET_RESULTS" "$part"; done
}

# Tickets are signed by a key that may put, and end what it has begun to put: nothing else, whatever is sent by one.
# It is a policy in a string: the right `Write` would be one to delete, too. Where there is a policy it decides, but for
# forms, of which the store asks for the right beside it.
tickets='{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"s3:PutObject\",'
tickets="$tickets"'\"s3:AbortMultipartUpload\"],\"Resource\":[\"arn:aws:s3:::'"$BUCKET_UPLOADS"'/users/*\"]}]}'
set -f # a star is a star, whatever lies in the working directory

mkdir -p "$run" "$data"
cat > "$run/identities.json" <<END
{"identities":[
  $(identity darkroom-admin "$S3_ADMIN_SECRET_KEY" '"actions":["Admin"]'),
  $(identity darkroom-handlers "$S3_HANDLERS_SECRET_KEY" "\"actions\":$(rights "" "" \
    "$BUCKET_UPLOADS $BUCKET_RESULTS $BUCKET_QUARANTINE $BUCKET_ARCHIVE $BUCKET_ACCESS")"),
  $(identity darkroom-ticket "$S3_TICKET_SECRET_KEY" \
    "\"actions\":[\"Write:$BUCKET_UPLOADS\"],\"policyNames\":[\"tickets\"]"),
  $(identity darkroom-worker "$S3_WORKER_SECRET_KEY" "\"actions\":$(rights "" "$BUCKET_UPLOADS $BUCKET_RESULTS" \
    "$(results processed previews copies credentials masks tiles claims workers) $BUCKET_QUARANTINE")"),
  $(identity darkroom-callbacks "$S3_CALLBACKS_SECRET_KEY" "\"actions\":$(rights \
    "$(results receipts processed) $BUCKET_QUARANTINE" "" "$(results callbacks)")"),
  $(identity darkroom-backup "$S3_BACKUP_SECRET_KEY" "\"actions\":$(rights "" \
    "$BUCKET_UPLOADS $BUCKET_RESULTS $BUCKET_QUARANTINE $BUCKET_ARCHIVE $BUCKET_ACCESS" "$(results backup)")"),
  $(identity darkroom-client "$S3_CLIENT_SECRET_KEY" "\"actions\":$(rights "" "$BUCKET_RESULTS $BUCKET_QUARANTINE" \
    "$BUCKET_UPLOADS")")
],"policies":[{"name":"tickets","content":"$tickets"}]}
END

# An S3 PUT over an existing key arrives as `update`, hence both types. Only uploads are told: results never are.
cat > "$run/notification.toml" <<END
[notification.webhook]
enabled = true
endpoint = "$WEBHOOK_URL"
bearer_token = "$WEBHOOK_TOKEN"
timeout_seconds = 10
max_retries = 5
backoff_seconds = 1
max_backoff_seconds = 30
event_types = ["create", "update", "rename"]
path_prefixes = ["/buckets/$BUCKET_UPLOADS/"]
END

cat > "$run/filer.toml" <<END
[leveldb2]
enabled = true
dir = "$data/filerldb2"
END

# The S3 door's gRPC port hands out rights and listens wherever S3 does: with a key, drawn anew at every start and known
# to this process alone, it answers nobody else.
cat > "$run/security.toml" <<END
[jwt.filer_signing]
key = "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
END

# weed looks for its .toml files in the working directory first.
cd "$run"
# Volumes grow as they are filled, and each bucket begins with two: the disk bounds them all (1 % of it stays free),
# never their number. Counted by the disk, a smaller one would have none left for the last buckets.
export WEED_MASTER_VOLUME_GROWTH_COPY_1=2
# Master, volume and filer know no passwords: they listen inside this container only, S3 alone to the outside.
exec weed -logtostderr=true server -dir="$data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
  -master.telemetry=false -master.volumeSizeLimitMB=1024 -volume.max=100000 -volume.preStopSeconds=1 -filer \
  -s3 -s3.ip.bind=0.0.0.0 -s3.config="$run/identities.json" -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 \
  -s3.allowDeleteBucketNotEmpty=false "$@"
