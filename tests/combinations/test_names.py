"""Every public name is in the matrix, or it is said why not."""

from __future__ import annotations

from . import names


def test_every_public_name_is_here_or_excused() -> None:
    assert names.public() - names.used() == {*names.excused()}


def test_each_is_excused_once() -> None:
    assert len(names.excused()) == len({*names.excused()})
