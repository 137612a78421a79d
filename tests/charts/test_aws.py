"""The template for AWS, held without an account: what it makes, and what each role may
do with it.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.broker import topology
from shared.runtime.settings import PREFIX, Settings
from tests.charts import tools
from tests.charts.cloudformation import TEMPLATE, of_type, resources, template

SETTINGS = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
FUNCTIONS = ("OnObjectCreated", "OnRecord", "OnSweep")
QUEUES = {queue.replace(".", "-") for queue in topology.ALL}
CONSUME = "ChangeMessageVisibility DeleteMessage GetQueueAttributes ReceiveMessage"
SEND = "GetQueueAttributes GetQueueUrl SendMessage"
BUCKETS = "uploads results quarantine archive access"
OBJECTS = (
    "AbortMultipartUpload DeleteObject DeleteObjectVersion GetObject GetObjectVersion "
    "ListMultipartUploadParts PutObject"
)
LISTS = "GetBucketVersioning ListBucket ListBucketMultipartUploads ListBucketVersions"
DECIDES = {
    **{f"s3 {bucket}": LISTS for bucket in BUCKETS.split()},
    **{f"s3 {bucket}/*": OBJECTS for bucket in BUCKETS.split()},
    "sqs darkroom-*": SEND,
    "kms Key": "Decrypt GenerateDataKey",
}
WRITES = (
    "AbortMultipartUpload DeleteObject GetObject ListMultipartUploadParts PutObject"
)
MAY: dict[str, dict[str, str]] = {
    "OnObjectCreatedRole": {
        **DECIDES,
        "sqs darkroom-uploads": CONSUME,
        "logs OnObjectCreatedLog": "CreateLogStream PutLogEvents",
    },
    "OnSweepRole": {
        **DECIDES,
        "managed": "AWSLambdaENIManagementAccess",
        "logs OnSweepLog": "CreateLogStream PutLogEvents",
    },
    "OnRecordRole": {
        "managed": "AWSLambdaENIManagementAccess",
        "sqs darkroom-log": CONSUME,
        "sqs darkroom-log-dead": SEND,
        "kms Key": "Decrypt GenerateDataKey",
        "logs OnRecordLog": "CreateLogStream PutLogEvents",
    },
    "WorkerRole": {
        "s3 uploads": "ListBucket",
        "s3 results": "ListBucket",
        "s3 quarantine": "ListBucket",
        "s3 uploads/*": "GetObject GetObjectVersion",
        "s3 results/*": "GetObject GetObjectVersion",
        "s3 quarantine/*": WRITES,
        **{
            f"s3 results/{part}/*": WRITES
            for part in [
                "processed",
                "previews",
                "copies",
                "credentials",
                "masks",
                "tiles",
                "claims",
                "workers",
            ]
        },
        "sqs darkroom-restore-*": "ChangeMessageVisibility DeleteMessage "
        "GetQueueAttributes GetQueueUrl ReceiveMessage SendMessage",
        "sqs darkroom-log": SEND,
        "sqs darkroom-callbacks": SEND,
        "kms Key": "Decrypt GenerateDataKey",
    },
    "StartRole": {
        "managed": "AmazonECSTaskExecutionRolePolicy",
        "secretsmanager DatabaseSecret": "GetSecretValue",
        "kms Key": "Decrypt",
    },
    "MachineRole": {"managed": "AmazonEC2ContainerServiceforEC2Role"},
}
"""Role → what it may do with which resource. Nothing else."""


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def place_of(resource: Any) -> str:
    """A resource of a policy in a word: bucket and part, queue, or logical id."""
    name: str
    if "Fn::Sub" in resource:
        name = resource["Fn::Sub"].rpartition(":")[2]
    elif "Fn::GetAtt" in resource:
        name = resource["Fn::GetAtt"][0]
    else:
        name = resource["Ref"]
    name = re.sub(r"\$\{(\w+)\.Arn\}", r"\1", name)
    bucket = re.match(r"Bucket(?:U|[a-z])\w+", name)
    if bucket:
        return name.removeprefix("Bucket").replace("Uploads", "uploads")
    if name.startswith(("Queue", "Dead")):
        properties: dict[str, Any] = resources()[name]["Properties"]
        return str(properties["QueueName"]["Fn::Sub"])
    return name


def test_the_template_is_without_fault() -> None:
    command = [tools.CFN_LINT, "--regions", "eu-central-1", "us-east-1", "--"]
    done = subprocess.run([*command, TEMPLATE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_fault_inside_a_loop_is_found(tmp_path: Path) -> None:
    """The comparison can fail."""
    faulty = tmp_path / "template.yaml"
    faulty.write_text(TEMPLATE.read_text().replace("QueueName:", "QueName:"))
    done = subprocess.run(
        [tools.CFN_LINT, "--regions", "eu-central-1", "--", faulty],
        capture_output=True,
        text=True,
    )
    assert "QueName" in done.stdout


def test_a_role_may_do_this_and_nothing_else() -> None:
    found: dict[str, dict[str, str]] = {}
    for role, properties in of_type("AWS::IAM::Role").items():
        may: dict[str, set[str]] = {}
        for managed in properties.get("ManagedPolicyArns", []):
            name = managed["Fn::Sub"].rpartition("/")[2]
            may.setdefault("managed", set()).add(name)
        for policy in properties.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow"
                for action in listed(statement["Action"]):
                    service, _, verb = action.partition(":")
                    assert "*" not in verb, action
                    for resource in listed(statement["Resource"]):
                        place = f"{service} {place_of(resource)}"
                        may.setdefault(place, set()).add(verb)
        found[role] = {place: " ".join(sorted(verbs)) for place, verbs in may.items()}
    assert found == MAY


def test_every_queue_exists_with_dead_letters_and_an_alarm() -> None:
    """Consumers never make a queue."""
    queues = {
        properties["QueueName"]["Fn::Sub"]
        for properties in of_type("AWS::SQS::Queue").values()
        if isinstance(properties["QueueName"], dict)
    }
    assert queues == QUEUES | {f"{queue}-dead" for queue in QUEUES}
    alarmed = [
        alarm["Dimensions"][0]["Value"].get("Fn::Sub")
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if alarm.get("MetricName") == "ApproximateNumberOfMessagesVisible"
        and isinstance(alarm["Dimensions"][0]["Value"], dict)
    ]
    assert {f"{queue}-dead" for queue in QUEUES} <= set(alarmed)


def test_what_is_stored_is_encrypted_by_one_key_and_private() -> None:
    buckets = of_type("AWS::S3::Bucket")
    assert len(buckets) == 5
    for name, bucket in buckets.items():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms", name
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
        assert not any("Expiration" in str(rule) for rule in rules), "photos stay"
        assert resources()[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert len(of_type("AWS::S3::BucketPolicy")) == len(buckets)
    for queue in of_type("AWS::SQS::Queue").values():
        assert queue["KmsMasterKeyId"] == {"Ref": "Key"}
    (database,) = of_type("AWS::RDS::DBInstance").values()
    assert database["StorageEncrypted"] is True
    assert database["PubliclyAccessible"] is False


def test_recorder_and_sweep_reach_the_log_and_nobody_else_does() -> None:
    """Without it a sweep finds no missing event, and tells nobody that a job has ended."""
    reaching = {
        name: function["VpcConfig"]["SecurityGroupIds"]
        for name, function in of_type("AWS::Lambda::Function").items()
        if f"{PREFIX}DATABASE_URL" in function["Environment"]["Variables"]
    }
    group = [{"Ref": "RecorderGroup"}]
    assert reaching == {"OnRecord": group, "OnSweep": group}
    (rule,) = of_type("AWS::EC2::SecurityGroup")["DatabaseGroup"][
        "SecurityGroupIngress"
    ]
    assert rule["SourceSecurityGroupId"] == {"Ref": "RecorderGroup"}


def test_only_events_of_the_bucket_of_uploads_are_told() -> None:
    rule = of_type("AWS::Events::Rule")["UploadRule"]
    detail = rule["EventPattern"]["detail"]
    assert detail == {"bucket": {"name": [{"Ref": "BucketUploads"}]}}
    telling = [
        name
        for name, bucket in of_type("AWS::S3::Bucket").items()
        if "NotificationConfiguration" in bucket
    ]
    assert telling == ["BucketUploads"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_that_exists_with_settings_that_exist(name: str) -> None:
    function = of_type("AWS::Lambda::Function")[name]
    module, _, handler = function["Handler"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), handler))
    variables = set(function["Environment"]["Variables"])
    assert variables <= SETTINGS
    # A password is resolved when the stack is made; none stands here.
    for variable in ("DARKROOM_PEPPER", "DARKROOM_DATABASE_URL"):
        if variable in variables:
            value = function["Environment"]["Variables"][variable]
            assert "{{resolve:secretsmanager:" in value["Fn::Sub"]


def test_a_batch_is_delivered_again_after_its_function_has_ended() -> None:
    """A queue hides a message six times as long as its function may take, and what
    failed of a batch comes again, alone.
    """
    functions = of_type("AWS::Lambda::Function")
    sources = of_type("AWS::Lambda::EventSourceMapping").values()
    assert len(sources) == 2
    for source in sources:
        function = functions[source["FunctionName"]["Ref"]]
        queue = resources()[source["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_workers_are_scaled_by_every_restore_queue() -> None:
    """Up from none, and by as many as an alarm's ten metrics allow."""
    restore = {queue.replace(".", "-") for queue in topology.RESTORE}
    policies = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
    tracked = [
        policy["TargetTrackingScalingPolicyConfiguration"][
            "CustomizedMetricSpecification"
        ]["Metrics"]
        for policy in policies.values()
        if policy["PolicyType"] == "TargetTrackingScaling"
    ]
    alarms = of_type("AWS::CloudWatch::Alarm").values()
    waking = [alarm["Metrics"] for alarm in alarms if "Metrics" in alarm]
    for groups in (tracked, waking):
        seen: list[str] = []
        for metrics in groups:
            stats = [one["MetricStat"] for one in metrics if "MetricStat" in one]
            assert len(stats) <= 10
            (expression,) = [
                one["Expression"] for one in metrics if "Expression" in one
            ]
            ids = [one["Id"] for one in metrics if "MetricStat" in one]
            assert all(re.search(rf"\b{ident}\b", expression) for ident in ids)
            seen += [
                stat["Metric"]["Dimensions"][0]["Value"]
                for stat in stats
                if stat["Metric"]["Namespace"] == "AWS/SQS"
            ]
        assert sorted(seen) == sorted(restore)
    (target,) = of_type("AWS::ApplicationAutoScaling::ScalableTarget").values()
    assert target["MinCapacity"] == 0


def test_a_worker_has_one_gpu_and_time_to_finish() -> None:
    (container,) = of_type("AWS::ECS::TaskDefinition")["WorkerTask"][
        "ContainerDefinitions"
    ]
    assert container["ResourceRequirements"] == [{"Type": "GPU", "Value": "1"}]
    variables = {one["Name"]: one["Value"] for one in container["Environment"]}
    assert set(variables) <= SETTINGS
    assert float(variables["DARKROOM_DRAIN_S"]) < container["StopTimeout"] - 5
    assert container["ReadonlyRootFilesystem"] is True
    (machines,) = of_type("AWS::AutoScaling::AutoScalingGroup").values()
    assert machines["NewInstancesProtectedFromScaleIn"] is True


def test_no_secret_and_no_release_but_this_stands_in_the_template() -> None:
    text = json.dumps(template())
    assert not re.search(r"AKIA|BEGIN .*PRIVATE KEY|://\w+:\w+@", text)
    from shared import __version__

    assert template()["Parameters"]["Release"]["Default"] == __version__
    assert __version__ in template()["Parameters"]["CodeKey"]["Default"]
