from __future__ import annotations

import inspect

import pytest

from shared import errors

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, errors.FathomError) and value is not errors.FathomError
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_its_own_code_and_a_sentence(error: type[errors.FathomError]):
    assert "code" in vars(error)
    assert error().message.endswith(".")


def test_no_two_errors_share_a_code():
    codes = [error.code for error in CLASSES]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", CLASSES)
def test_only_unavailable_servers_and_sources_are_transient(error: type[errors.FathomError]):
    assert error.transient is issubclass(error, errors.Unavailable | errors.SourceUnavailable)
