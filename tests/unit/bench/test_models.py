"""What `bench.models` accepts, and what it makes of what it measures."""

from __future__ import annotations

from typing import Any

import pytest

from bench.models.__main__ import main
from bench.models.report import to_json, to_markdown, to_text
from bench.models.way import Measured, settings_for
from shared.networks import NETWORKS


def measured(cpu_ms: float, plain_cpu_ms: float | None = None, **changes: Any) -> Measured:
    facts = {"wall_ms": cpu_ms + 1, "peak_mb": 700.4, "precision": "f32", **changes}
    return Measured(cpu_ms=cpu_ms, plain_cpu_ms=plain_cpu_ms, **facts)


RESULTS = {
    "midas_small": {
        "official": measured(450.0),
        "f32": measured(90.0, 100.0, peak_mb=350.0),
        "bf16": measured(75.0, 80.0, precision="bf16"),
    },
    "dpt_large": {"official": measured(8000.0), "f32": measured(5000.0, 5200.0)},
    "dpt_hybrid": {"f32": measured(2000.0, 2100.0), "bf16": measured(1000.0, 1020.0, precision="bf16")},
}
MISSING = {"dpt_large, bf16": "this CPU has no bf16"}


@pytest.fixture
def report() -> dict[str, Any]:
    return to_json(RESULTS, MISSING, photos=3, megapixels=11.999, rounds=2)


def test_ratios_are_of_processor_time(report: dict[str, Any]):
    networks = report["networks"]

    assert networks["midas_small"]["times_faster"] == {"f32": 5.0, "bf16": 6.0}
    assert networks["dpt_large"]["times_faster"] == {"f32": 1.6}
    assert networks["dpt_hybrid"]["times_faster"] == {"f32": None, "bf16": None}
    assert [network["reached"] for network in networks.values()] == [True, False, None]


def test_the_cost_of_an_image_is_relative_to_the_default_network_in_the_same_precision(
    report: dict[str, Any],
):
    networks = report["networks"]

    assert networks["midas_small"]["cost"] == {"f32": 1.0, "bf16": 1.0}
    assert networks["dpt_large"]["cost"] == {"f32": 52.0}
    assert networks["dpt_hybrid"]["cost"] == {"f32": 21.0, "bf16": 12.75}


def test_without_the_default_network_no_cost_is_known():
    alone = to_json({"dpt_large": RESULTS["dpt_large"]}, {}, photos=1, megapixels=12.0, rounds=1)

    assert alone["networks"]["dpt_large"]["cost"] == {"f32": None}
    assert to_markdown(alone).splitlines()[2].endswith("| 700 | 700 |  |  |  |")


def test_the_table_has_a_row_for_each_network_and_says_what_is_missing(report: dict[str, Any]):
    head, rule, *rows, empty, reason = to_markdown(report).splitlines()

    assert rows == [
        "| `midas_small` | 450.0 | 90.0 | 5.0 | 75.0 | 6.0 | 700 | 350 | 700 | 1.0 | 1.0 |",
        "| `dpt_large` | 8000.0 | 5000.0 | 1.6 |  |  | 700 | 700 |  | 52.0 |  |",
        "| `dpt_hybrid` |  | 2000.0 |  | 1000.0 |  |  | 700 | 700 | 21.0 | 12.8 |",
    ]
    assert {head.count("|"), rule.count("|"), *(row.count("|") for row in rows)} == {12}
    assert (empty, reason) == ("", "- dpt_large, bf16: this CPU has no bf16")


def test_the_text_has_a_line_for_each_way(report: dict[str, Any]):
    lines = to_text(report).splitlines()

    assert "3 photos of 12.0 megapixels" in lines[0]
    assert [line.split()[0] for line in lines if " ms CPU " in line] == [
        *("official", "f32", "bf16"),
        *("official", "f32"),
        *("f32", "bf16"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [["--networks", "vits"], ["--precision", "f16"], ["--json", "--markdown"], ["--photos", "many"]],
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "bench.models: error" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["official", "f32", "bf16"])
def test_every_way_runs_on_weights_made_by_a_formula(way: str):
    for network in NETWORKS:
        settings = settings_for(network, way)

        assert (settings.model, settings.weights, settings.engine) == (network, "random", "openvino")
        assert settings.precision in (way, "auto")
