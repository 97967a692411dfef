from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from worker.model.timm_import import import_timm

ROOT = Path(__file__).parents[4]


NEEDS_OPERATORS = """
import torch
try:
    torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")
except RuntimeError:
    raise RuntimeError("operator torchvision::nms does not exist")
"""

#: Ways in which importing torchvision can behave.
TORCHVISIONS = {
    "whole": "",
    "needs more memory": "raise RuntimeError('out of memory')",
    "needs a library": "raise ImportError('libpng is missing')",
    # Last, because its declarations stay.
    "needs operators": NEEDS_OPERATORS,
}

#: Imports timm beside one torchvision after another, and prints the outcome of each.
IMPORTS = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from worker.model import timm_import
outcomes = {}
for folder in sys.argv[2:]:
    sys.path[:0] = [folder]
    for name in ("timm", "torchvision"):
        sys.modules.pop(name, None)
    try:
        timm_import.import_timm()
        outcomes[folder] = len(timm_import._declared)
    except Exception as exc:
        outcomes[folder] = repr(exc)
    sys.path.pop(0)
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int | str]:
    """For every kind of torchvision, the number of declared operators, or the error of the caller."""
    root = tmp_path_factory.mktemp("torchvisions")
    for kind, body in TORCHVISIONS.items():
        for package, content in (("torchvision", body), ("timm", "import torchvision")):
            (root / kind / package).mkdir(parents=True)
            (root / kind / package / "__init__.py").write_text(content)
    command = [sys.executable, "-c", IMPORTS, str(ROOT), *(str(root / kind) for kind in TORCHVISIONS)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    return {kind: found[str(root / kind)] for kind in TORCHVISIONS}


def test_timm_makes_the_encoder_with_any_build_of_torchvision():
    assert "tf_efficientnet_lite3" in import_timm().list_models()


def test_operators_are_declared_if_torchvision_lacks_them(outcomes: dict[str, int | str]):
    assert outcomes["needs operators"] == 1


def test_nothing_is_declared_if_torchvision_can_be_imported(outcomes: dict[str, int | str]):
    assert outcomes["whole"] == 0


def test_other_import_errors_are_not_hidden(outcomes: dict[str, int | str]):
    assert outcomes["needs more memory"] == "RuntimeError('out of memory')"
    assert outcomes["needs a library"] == "ImportError('libpng is missing')"
