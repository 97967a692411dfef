"""Send a folder's photos to LitServe: `python -m bench.peers.litserve_client --url URL IN OUT`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx

#: Requests in flight, enough for two workers to fill their batches while others travel.
_IN_FLIGHT = 12
_HEADERS = {"Content-Type": "image/jpeg"}


async def send(url: str, photos: Sequence[Path], out: Path) -> None:
    """Post every photo, and write the heatmaps under the same names."""
    slots = asyncio.Semaphore(_IN_FLIGHT)
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client:

        async def post(path: Path) -> None:
            async with slots:
                response = await client.post("/predict", content=path.read_bytes(), headers=_HEADERS)
                (out / path.name).write_bytes(response.raise_for_status().content)

        async with asyncio.TaskGroup() as tasks:
            for path in photos:
                tasks.create_task(post(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    asyncio.run(send(args.url, sorted(args.photos.glob("*.jpg")), args.out))


if __name__ == "__main__":
    main()
