from __future__ import annotations

import subprocess
import sys

import pytest

from shared.errors import SettingsError
from shared.networks import MIDAS_SMALL, NETWORKS, find_network


def test_the_default_is_the_first():
    assert next(iter(NETWORKS.values())) is MIDAS_SMALL


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(SettingsError, match=r"no model 'vits'. There are midas_small, midas_large,"):
        find_network("vits")


def test_every_network_says_where_its_file_is_and_what_may_be_done_with_it():
    for network in NETWORKS.values():
        assert network.url.endswith(f"/{network.file}")
        assert network.code_licence in ("MIT", "Apache-2.0")
        assert network.weights_licence in ("MIT", "Apache-2.0")
        assert network.cost >= 1
    assert "CC-BY-NC" in NETWORKS["midas_large"].licence_note


def test_the_catalogue_loads_neither_torch_nor_numpy():
    code = (
        "import sys; import shared.networks;"
        "print([n for n in ('torch', 'numpy', 'timm') if n in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
