"""Run every bad upload through the pipeline, each in its own process: `python -m tests.corpus.run_pipeline`.

Prints one JSON line for each: its name, its outcome, and how much more memory it took than a small harmless
photo. The outcome of a process that was killed is the name of the signal.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings

from fathom.options import Options
from shared.errors import ImageError
from tests.corpus import FINE, bad_uploads
from tests.corpus.entry import CorpusFile
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import save, scene
from worker.pipeline.decode.decode import limit_decoder_threads
from worker.pipeline.photo import Limits
from worker.pipeline.pipeline import Pipeline

#: Pictures of up to 16 megapixels are accepted.
LIMITS = Limits(max_pixels=16_000_000, min_side=16, max_bytes=8 * 2**20)
#: Limits of a process: seconds of CPU time, and bytes of address space beyond those at its start.
CPU_SECONDS, ADDRESS_BYTES = 30, 2**30


def main() -> None:
    limit_decoder_threads()
    pipeline = Pipeline(LuminanceEngine(), limits=LIMITS)
    uploads = bad_uploads()
    # Import everything first, so that it does not count as memory of an upload.
    for file_format in ("JPEG", "PNG", "HEIF", "AVIF"):
        pipeline.render(save(scene(), file_format), Options())
    harmless = CorpusFile(name="harmless", data=save(scene(), "JPEG"), expected=FINE)
    _, usual = _run(pipeline, harmless)
    for upload in uploads:
        outcome, peak = _run(pipeline, upload)
        row = {"name": upload.name, "outcome": outcome, "extra_bytes": peak - usual}
        sys.stdout.write(json.dumps(row) + "\n")


def _run(pipeline: Pipeline, upload: CorpusFile) -> tuple[str, int]:
    """Return the outcome of an upload, and the peak memory of its process in bytes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, _render(pipeline, upload).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        outcome = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        outcome = signal.Signals(os.WTERMSIG(status)).name
    return outcome, usage.ru_maxrss * 1024


def _render(pipeline: Pipeline, upload: CorpusFile) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    most = _address_bytes() + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    warnings.simplefilter("ignore")
    try:
        pipeline.render(upload.data, Options())
    except ImageError as exc:
        return exc.code
    except Exception as exc:
        return repr(exc)
    return FINE


def _address_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
