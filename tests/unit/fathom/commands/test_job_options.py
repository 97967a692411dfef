"""`--preset`, `--option` and their help, in the commands that make jobs."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from fathom.options import PRESETS, Options, Output
from tests.unit.fathom.commands.conftest import Fathom
from tests.unit.fathom.commands.test_run import SIMULATED
from tests.unit.fathom.conftest import on, problem
from tests.unit.fathom.job_server import JobServer
from tests.unit.worker.pipeline.pictures import save, texture

COMMANDS = ["submit", "run", "watch"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(save(texture(), "JPEG"))
    return folder


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["-o", "outputs=stereo", "-o", "stereo.layout=sbs_half"], {"outputs": ["stereo"], "stereo": {"layout": "sbs_half"}}),
        (["--preset", "vr"], {"outputs": ["stereo"], "stereo": {"layout": "sbs_full"}}),
        (["-o", "preset=vr"], {"outputs": ["stereo"], "stereo": {"layout": "sbs_full"}}),
        (["-o", "stereo.swap=yes", "--preset", "vr"], {"outputs": ["stereo"], "stereo": {"swap": True}}),
        (["--preset", "game", "-o", "outputs=mesh"], {"outputs": ["mesh"]}),
        (["--model", "dpt_large", "--preset", "controlnet"], {"outputs": ["controlnet"], "model": "dpt_large"}),
        (["-o", "model=dpt_hybrid"], {"model": "dpt_hybrid"}),
        (["-o", "model=dpt_hybrid", "--model", "file:mine"], {"model": "file:mine"}),
        (["--preset", "print", "-o", "clip=0,100"], {"outputs": ["heatmap", "depth16"], "colormap": "gray"}),
    ],
)  # fmt: skip
def test_a_job_gets_the_options_that_a_command_line_means(
    fathom: Fathom, server: JobServer, photo: Path, arguments: list[str], meant: dict[str, Any]
) -> None:
    result = fathom("submit", photo, "--detach", *arguments)
    (job,) = server.jobs.values()

    assert (result.exit_code, job.options) == (0, Options.parse(meant).to_json())


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["--preset", "3dgs"], "depths/a.png"),
        (["-o", "outputs=depth16", "-o", "depth16.folder=maps"], "maps/a.png"),
        (["--preset", "3dgs", "-o", "depth16.folder=inverse"], "inverse/a.png"),
        (["--preset", "print", "-o", "outputs=heatmap"], "a.png"),
    ],
)
def test_a_run_writes_what_its_options_ask_for(
    fathom: Fathom, photo: Path, tmp_path: Path, arguments: list[str], path: str
) -> None:
    out = tmp_path / "out"
    result = fathom("run", photo, out, *arguments, env=SIMULATED)
    written = [file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()]

    assert (result.exit_code, written) == (0, [path])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preset", "cinema"], "'cinema' is not one of 'vr', 'web3d', 'blender', 'controlnet', '3dgs', 'game', 'print'"),
        (["-o", "preset=cinema"], "preset must be one of vr, web3d, blender, controlnet, 3dgs, game, print"),
        (["--model", "DPT large"], "model must be"),
        (["-o", "outputs=stereo", "-o", "stereo.layout=cube"], "stereo.layout must be one of sbs_full, sbs_half,"),
        (["-o", "outputs=stereo", "-o", "stereo.depth=1"], "stereo.depth is not an option; the options are layout,"),
        (["--preset", "vr", "-o", "mesh.fov=60"], "mesh has options, but is not among the outputs"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_wrong_usage(
    fathom: Fathom, photo: Path, tmp_path: Path, command: str, arguments: list[str], says: str
) -> None:
    out = [tmp_path / "out"] if command == "run" else ["--out", tmp_path / "out"]
    result = fathom(command, photo, *out, *arguments)

    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_watch_sends_the_model_with_its_jobs(
    fathom: Fathom, server: JobServer, photo: Path, tmp_path: Path
) -> None:
    done = fathom("watch", photo, "--once", "--out", tmp_path / "out", "--model", "dpt_large")
    (job,) = server.jobs.values()

    assert (done.exit_code, job.options["model"]) == (0, "dpt_large")


@pytest.mark.parametrize("command", ["submit", "watch"])
def test_a_model_that_no_worker_serves_ends_the_command_with_a_sentence(
    fathom: Fathom, server: JobServer, photo: Path, tmp_path: Path, command: str
) -> None:
    refusal = problem(422, "model_unavailable", "No worker serves the model 'dpt_large'.")
    server.faults.append(on("POST", "/v1/jobs", lambda _: refusal))
    ended = fathom(command, photo, "--out", tmp_path / "out", "--model", "dpt_large")

    assert ended.exit_code == 1
    assert "fathom: No worker serves the model 'dpt_large'." in ended.stderr


@pytest.fixture(params=COMMANDS)
def shown(request: pytest.FixtureRequest, fathom: Fathom) -> str:
    """The help of a command, each of its rows on one line."""
    text = fathom(request.param, "--help", terminal_width=80).stdout
    return re.sub(r"\n {10,}", " ", text)


def test_the_help_shows_every_preset(shown: str) -> None:
    for name, preset in PRESETS.items():
        assert f"\n  {name} " in shown
        assert f"{preset.title}: {preset.description}".replace("`", "") in shown


def test_the_help_shows_every_output_with_its_options(shown: str) -> None:
    options, rows = Options(), shown.partition("\nOutputs (")[2].partition("\n\n")[0]
    for output in Output:
        (row,) = re.findall(rf"^  {output}  +(.*)$", rows, re.MULTILINE)
        group = getattr(options, output, None)
        names = [] if group is None else [each.name for each in fields(group)]

        assert re.match(r"[A-Z][^.]+\.", row)
        assert re.findall(r"([a-z0-9_]+)=", row) == names


def test_the_help_shows_every_option_of_a_job(shown: str) -> None:
    plain = [each for each in fields(Options) if not is_dataclass(each.default) and each.name != "outputs"]
    for each in plain:
        assert f"\n  {each.name} " in shown
        assert each.metadata["description"].replace("`", "") in shown


@pytest.mark.parametrize(
    "words",
    [
        "layout=sbs_full | sbs_half | tb_full | tb_half | cross | anaglyph | pair | rgbd,",
        "divergence=2 (0 to 5),",
        "points=1000000 (1000 to 5000000),",
        "bits=8|16,",
        "backfill=true|false,",
        "swap=false|true,",
        "focus=0.5,0.5,",
        "depth_source auto|model|embedded",
        "percentiles 0,100 Percentiles",
    ],
)
def test_the_help_shows_the_values_of_an_option_and_the_default_first(shown: str, words: str) -> None:
    assert words in " ".join(shown.split())


def test_the_help_fits_a_terminal(fathom: Fathom) -> None:
    lines = fathom("run", "--help", terminal_width=80).stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert len(lines) < 100
