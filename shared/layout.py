"""Keys of the objects of a job. A user's file name is data and never part of a key."""

from __future__ import annotations

from shared.options import HeatmapFormat, Options, Output

SIDECAR = "depth.json"


def job_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/"


def job_record(job_id: str) -> str:
    """Options, owner and time of creation, as accepted."""
    return f"jobs/{job_id}/job.json"


def manifest(job_id: str) -> str:
    """One JSON line an image: index, name as given, source."""
    return f"jobs/{job_id}/manifest.jsonl"


def inputs_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/inputs/"


def input_image(job_id: str, index: int) -> str:
    return f"jobs/{job_id}/inputs/{index}"


def output(job_id: str, index: int, file_name: str) -> str:
    return f"jobs/{job_id}/outputs/{index}/{file_name}"


def failures(job_id: str) -> str:
    return f"jobs/{job_id}/failures.jsonl"


def result(job_id: str) -> str:
    """The job's commit point: its final state and counts."""
    return f"jobs/{job_id}/result.json"


_FILES = {
    Output.DEPTH16: "depth16.png",
    Output.PFM: "depth.pfm",
    Output.NPY: "depth.npy",
    Output.SIDE_BY_SIDE: "side_by_side.jpg",
    Output.THUMBNAIL: "thumbnail.jpg",
}

_CONTENT_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".pfm": "application/octet-stream",
    ".npy": "application/octet-stream",
}


def output_file(output: Output, options: Options) -> str:
    """Return the file name of an output, which depends on the heatmap's format."""
    if output is Output.HEATMAP:
        return "heatmap.jpg" if options.heatmap_format is HeatmapFormat.JPEG else "heatmap.png"
    return _FILES[output]


def output_files(options: Options) -> dict[str, str]:
    """Map the name of every output of a job, the sidecar `depth` included, to its file name."""
    files = {str(output): output_file(output, options) for output in options.outputs}
    return files | {"depth": SIDECAR}


def content_type(file_name: str) -> str:
    return _CONTENT_TYPES[file_name[file_name.rindex(".") :]]
