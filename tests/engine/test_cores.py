"""How many cores a process may use: its affinity, and the quotas of control groups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tinygrad_seq.backend import cores


def limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str, settings: dict[str, str]) -> int:
    """The cores of a process on 64 that is in these groups, with these files of settings."""
    (tmp_path / "groups").write_text(groups)
    for name, content in settings.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(cores, "_GROUPS", str(tmp_path / "groups"))
    monkeypatch.setattr(cores, "_MOUNTED", str(tmp_path / "mounted"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    return cores.usable_cores()


V1 = "12:pids:/docker/ab\n4:cpu,cpuacct:/docker/ab\n0::/system.slice\n"


@pytest.mark.parametrize(
    ("groups", "settings", "expected"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9999999 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "what is this"}, 64),
        ("0::/\n", {}, 64),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n", "a/cpu.max": "800000 100000\n"}, 2),
        ("0::/../other\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/a:b\n", {"a:b/cpu.max": "200000 100000\n"}, 2),
        ("0::/a\n", {"unified/a/cpu.max": "200000 100000\n"}, 2),
        (
            V1,
            {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "200000", "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000"},
            2,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "25000"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1, {"cpu/cpu.cfs_quota_us": "300000"}, 64),
        (V1, {"pids/docker/ab/cpu.max": "100000 100000"}, 64),
    ],
)
def test_quotas_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str, settings: dict[str, str], expected: int
) -> None:
    assert limited(monkeypatch, tmp_path, groups, settings) == expected


def test_affinity_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limited(monkeypatch, tmp_path, "0::/\n", {"cpu.max": "800000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7, 11}, raising=False)
    assert cores.usable_cores() == 3


def test_without_affinity_and_control_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "_GROUPS", str(tmp_path / "none"))
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, expected in ((6, 6), (None, 1)):
        counted: Any = count
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert cores.usable_cores() == expected
