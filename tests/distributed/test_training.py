"""Any number of processes train what one process trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .launch import given

EQUAL = ("equal:eager", "equal:numpy", "equal:native", "equal:eager:3", "equal:numpy:3", "equal:numpy:1:float32")
TWICE = "equal:verify"  # slow
OTHER = ("statistics:eager", "statistics:numpy")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What one process without a launcher gives."""
    calls = [*EQUAL, TWICE, *OTHER, "idle:eager", "parallel:eager"]
    return given(0, *calls, folder=tmp_path_factory.mktemp("alone"))[0]


@pytest.mark.parametrize("ranks", [2, 5])
def test_equal_to_one_process(ranks: int, alone: dict[str, object], tmp_path: Path) -> None:
    calls = [*EQUAL, *[TWICE] * (ranks == 2)]
    found = given(ranks, *calls, *OTHER, folder=tmp_path)
    assert all(theirs == found[0] for theirs in found), "the ranks differ"
    for call in calls:
        numbers, loss = found[0][call]
        expected, mean = alone[call]  # type: ignore[misc]
        bound = 1e-4 if "float32" in call else 1e-12
        np.testing.assert_allclose(numbers, expected, rtol=0, atol=bound, err_msg=call)  # type: ignore[has-type]
        np.testing.assert_allclose(loss, mean, rtol=bound, err_msg=call)  # type: ignore[has-type]
    for call in OTHER:
        np.testing.assert_allclose(found[0][call], alone[call], rtol=1e-12, err_msg=call)  # type: ignore[call-overload]


def test_one_checkpoint_for_any_number_of_ranks(tmp_path: Path) -> None:
    whole = given(0, f"resumed:{tmp_path / 'whole.npz'}:0:8", folder=tmp_path)[0]
    path = tmp_path / "parts.npz"
    given(0, f"resumed:{path}:0:3", folder=tmp_path)
    given(3, f"resumed:{path}:3:5", folder=tmp_path)
    last = given(2, f"resumed:{path}:5:8", folder=tmp_path)[0]
    numbers, expected = [next(iter(found.values())) for found in (last, whole)]
    np.testing.assert_allclose(numbers, expected, rtol=0, atol=1e-12)


def test_special_cases(alone: dict[str, object], tmp_path: Path) -> None:
    """In one launch: what only some ranks have, do, or look at."""
    calls = [
        "parallel:eager",
        "parallel:compiled",
        "periodic",
        "collectives",
        "dtypes",
        "new_shape",
        "unused",
        "missing",
        "stopping",
    ]
    found = given(2, *calls, folder=tmp_path)
    for kind in ("eager", "compiled"):
        for mine, expected in zip(found[0][f"parallel:{kind}"], alone["parallel:eager"], strict=True):  # type: ignore[call-overload]
            np.testing.assert_allclose(mine, expected, rtol=1e-5)
    assert found[0]["periodic"] == [1, 2, 1, 2]
    assert found[0]["collectives"] == [[3.0, 4.0], [1.5], [0], [1.0], [[[0]], [[1]]], [1.0], [3.0, [0, 1], 1]]
    assert found[0]["dtypes"] == found[1]["dtypes"] == [[[0, 1], [1, 1], [1, 1]]] * 5 + [[1, 1], [1, 2]]
    assert [f["new_shape"] for f in found] == [1, 2]
    assert found[0]["unused"] == [[10.0, 20.0]] * 3
    assert found[1]["unused"] == [[1.0, 2.0]] * 3
    assert found[0]["missing"] == [[3.0, 3.0], [1.0, 1.0], True, 3.0, 3.0]
    assert found[0]["missing"] == found[1]["missing"]
    assert [f["stopping"] for f in found] == [2, 2]


def test_a_rank_without_data(alone: dict[str, object], tmp_path: Path) -> None:
    found = given(5, "idle:eager", folder=tmp_path)
    assert all(theirs == found[0] for theirs in found)
    np.testing.assert_allclose(found[0]["idle:eager"], alone["idle:eager"], rtol=0, atol=1e-12)  # type: ignore[call-overload]


def test_each_rank_reads_its_own_streams(tmp_path: Path) -> None:
    path = tmp_path / "text"
    np.ones(1 << 26, np.uint8).tofile(path)
    whole = given(0, f"memory:{path}:8", folder=tmp_path)[0]
    parts = given(2, f"memory:{path}:8", folder=tmp_path)
    (peak, total), shares = next(iter(whole.values())), [next(iter(part.values())) for part in parts]
    assert sum(n for _, n in shares) == total
    assert max(p for p, _ in shares) < peak - (1 << 14)  # KiB: a quarter of the file
