from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


def run_python(code: str, *, folder: Path = ROOT) -> str:
    """Run code in an interpreter of its own; `folder` comes first on its path."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n" + code]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def write_torchvision(folder: Path, body: str) -> None:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(textwrap.dedent(body))


def write_timm(folder: Path) -> None:
    (folder / "timm").mkdir()
    (folder / "timm" / "__init__.py").write_text("import torchvision\n")


def test_timm_makes_the_encoder_whatever_build_torchvision_is():
    code = "from worker.model.timm_import import import_timm\nprint('tf_efficientnet_lite3' in import_timm().list_models())"

    assert run_python(code) == "True"


def test_operators_are_declared_where_torchvision_lacks_them(tmp_path: Path):
    write_timm(tmp_path)
    write_torchvision(
        tmp_path,
        """
        import torch
        registered = torch._C._dispatch_has_kernel_for_dispatch_key
        try:
            registered("torchvision::nms", "Meta")
        except RuntimeError:
            raise RuntimeError("operator torchvision::nms does not exist")
        """,
    )
    code = "from worker.model.timm_import import import_timm, _declared\nimport_timm(); print(len(_declared))"

    assert run_python(code, folder=tmp_path) == "1"


def test_nothing_is_declared_where_torchvision_imports_as_it_is(tmp_path: Path):
    write_timm(tmp_path)
    write_torchvision(tmp_path, "")
    code = "from worker.model.timm_import import import_timm, _declared\nimport_timm(); print(len(_declared))"

    assert run_python(code, folder=tmp_path) == "0"


@pytest.mark.parametrize("error", ["RuntimeError('out of memory')", "ImportError('libpng is missing')"])
def test_another_failure_of_the_import_is_not_hidden(tmp_path: Path, error: str):
    write_timm(tmp_path)
    write_torchvision(tmp_path, f"raise {error}")
    code = f"""
from worker.model.timm_import import import_timm
try:
    import_timm()
except Exception as exc:
    print(repr(exc) == {error!r}.replace('"', "'"))
"""

    assert run_python(code, folder=tmp_path) == "True"
