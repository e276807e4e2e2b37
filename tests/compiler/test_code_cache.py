"""Machine code in files: what is cut, changed, another's or in the way is compiled again, and never run."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tinygrad_seq.compiler import warn_once
from tinygrad_seq.compiler.native import code_cache

from ..systems import posix

ROOT = Path(__file__).parents[2]
NAME, OTHER = "0a" * 32, "1b" * 32
CODE = bytes(range(1, 25))
native = pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that is not there yet."""
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "cache"))
    warn_once._told.clear()
    yield tmp_path / "cache"
    warn_once._told.clear()


def put(folder: Path, content: bytes) -> None:
    (folder / f"{NAME}.o").write_bytes(content)


def kept(folder: Path) -> bytes:
    return (folder / f"{NAME}.o").read_bytes()


# --- whole and unchanged ---


def test_what_is_written_is_read() -> None:
    assert code_cache.read(NAME) is None
    code_cache.write(NAME, CODE)
    assert code_cache.read(NAME) == CODE
    assert code_cache.read(OTHER) is None


def test_a_file_of_every_other_length_is_noticed(folder: Path) -> None:
    code_cache.write(NAME, CODE)
    whole = kept(folder)
    for length in range(len(whole)):
        put(folder, whole[:length])
        assert code_cache.read(NAME) is None, length
    put(folder, whole + b"\0")
    assert code_cache.read(NAME) is None


def test_a_bit_that_is_turned_is_noticed_in_any_byte(folder: Path) -> None:
    code_cache.write(NAME, CODE)
    whole = kept(folder)
    for place in range(len(whole)):
        turned = bytearray(whole)
        turned[place] ^= 1 << place % 8
        put(folder, bytes(turned))
        assert code_cache.read(NAME) is None, place


@pytest.mark.parametrize("part", [slice(None), slice(40), slice(40, None), slice(68, None)])
def test_zeros_are_noticed(folder: Path, part: slice) -> None:
    code_cache.write(NAME, CODE)
    content = bytearray(kept(folder))
    content[part] = bytes(len(content[part]))
    put(folder, bytes(content))
    assert code_cache.read(NAME) is None


def test_the_code_of_another_name_is_noticed(folder: Path) -> None:
    code_cache.write(OTHER, CODE)
    put(folder, (folder / f"{OTHER}.o").read_bytes())
    assert code_cache.read(NAME) is None


def test_it_is_on_the_disk_before_it_has_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    def replaced(part: Any, path: Any) -> None:
        done.append(Path(path).name)
        replace(part, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    code_cache.write(NAME, CODE)
    assert done == [len(kept(folder)), f"{NAME}.o"]


# --- nobody else's ---


@posix
def test_folder_and_files_are_for_the_user_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        code_cache.write(NAME, CODE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{NAME}.o").stat().st_mode) == 0o600


def refused(folder: Path, why: str) -> None:
    """Neither read nor written, with one warning for both."""
    before = sorted(folder.iterdir())
    with pytest.warns(RuntimeWarning, match=why) as warned:
        assert code_cache.read(NAME) is None
    code_cache.write(OTHER, CODE)
    assert code_cache.read(NAME) is None
    assert len(warned) == 1
    assert str(folder) in str(warned[0].message)
    assert "TINYGRAD_SEQ_CACHE" in str(warned[0].message)
    assert sorted(folder.iterdir()) == before


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(folder: Path, mode: int) -> None:
    code_cache.write(NAME, CODE)
    folder.chmod(mode)
    refused(folder, "others can write to it")


@posix
def test_another_users_folder_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code_cache.write(NAME, CODE)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    refused(folder, "belongs to another user")


@posix
def test_a_folder_that_is_a_link_is_not_used(folder: Path) -> None:
    code_cache.write(NAME, CODE)
    folder.rename(folder.with_name("aside"))
    folder.symlink_to("aside")
    refused(folder, "symbolic link")


@posix
def test_a_folder_that_only_others_can_read_is_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    code_cache.write(NAME, CODE)
    assert code_cache.read(NAME) == CODE


@posix
@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_file_that_others_can_write_to_is_not_read(folder: Path, mode: int) -> None:
    code_cache.write(NAME, CODE)
    (folder / f"{NAME}.o").chmod(mode)
    assert code_cache.read(NAME) is None
    code_cache.write(NAME, CODE)
    assert code_cache.read(NAME) == CODE
    assert stat.S_IMODE((folder / f"{NAME}.o").stat().st_mode) == 0o600


@posix
def test_another_users_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code_cache.write(NAME, CODE)
    status = os.fstat

    def of_another(descriptor: int) -> os.stat_result:
        found = list(status(descriptor))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_another)
    assert code_cache.read(NAME) is None


@posix
def test_a_file_that_is_a_link_is_not_read_and_not_written_through(folder: Path) -> None:
    code_cache.write(NAME, CODE)
    aside, path = folder.with_name("aside"), folder / f"{NAME}.o"
    path.rename(aside)
    path.symlink_to(aside)
    assert code_cache.read(NAME) is None
    aside.write_bytes(b"as it was")
    code_cache.write(NAME, CODE)
    assert code_cache.read(NAME) == CODE
    assert aside.read_bytes() == b"as it was"


@posix
def test_what_is_no_file_is_not_read(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / f"{NAME}.o")
    assert code_cache.read(NAME) is None
    (folder / f"{NAME}.o").unlink()
    (folder / f"{NAME}.o").mkdir()
    assert code_cache.read(NAME) is None
    code_cache.write(NAME, CODE)  # cannot take its place
    assert len(list(folder.iterdir())) == 1


# --- what is left, and how much ---


@posix
def test_parts_of_dead_processes_go(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, old, left, earlier = (
        folder / f"{OTHER}.{process}.{end}"
        for process, end in ((os.getpid(), "new"), (os.getpid(), "old"), (dead.pid, "x_1"), (dead.pid, "140234"))
    )
    other = folder / "notes.txt"
    for path in (mine, old, left, earlier, other):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    code_cache.write(NAME, CODE)
    assert sorted(folder.iterdir()) == sorted([mine, other, folder / f"{NAME}.o"])


def test_what_was_used_least_recently_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i:02x}" * 32 for i in range(6)]
    for age, name in enumerate(names[:4]):
        code_cache.write(name, CODE)
        os.utime(folder / f"{name}.o", (1000 + age, 1000 + age))
    (folder / "mine.o").write_bytes(CODE)  # of somebody's compiler
    length = (folder / f"{names[0]}.o").stat().st_size
    monkeypatch.setattr(code_cache, "LIMIT", 4 * length)
    assert code_cache.read(names[0]) == CODE  # used now
    code_cache.write(names[4], CODE)
    code_cache.write(names[5], CODE)
    assert [code_cache.read(name) is not None for name in names] == [True, False, False, True, True, True]
    assert (folder / "mine.o").exists()


def test_the_bound_is_200_megabytes() -> None:
    assert code_cache.LIMIT == 200 * 2**20


# --- where nothing can be kept ---


def nothing_kept() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code_cache.write(NAME, CODE)
        assert code_cache.read(NAME) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    for where in ("file", "file/inside"):
        monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / where))
        nothing_kept()


@posix
def test_no_home_and_no_entry_among_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(number: int) -> Any:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "TINYGRAD_SEQ_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert code_cache.cache_folder() is None
    nothing_kept()
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", "~/here")
    assert code_cache.cache_folder() is None
    nothing_kept()


def test_a_home_is_known_by_its_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", "~/here")
    assert code_cache.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("TINYGRAD_SEQ_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert code_cache.cache_folder() == tmp_path / ".cache" / "tinygrad_seq"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert code_cache.cache_folder() == tmp_path / "xdg" / "tinygrad_seq"


@posix
def test_a_full_disk_keeps_nothing_and_leaves_nothing(folder: Path) -> None:
    """A bound on the length of files fails in the middle of one, as a full disk does."""
    code = (
        "import resource, signal; from tinygrad_seq.compiler.native import code_cache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"code_cache.write('{NAME}', bytes(5000)); assert code_cache.read('{NAME}') is None\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)
    assert list(folder.iterdir()) == []


# --- as programs use it ---

PROGRAM = """
import tinygrad_seq as tg
run = tg.compile(lambda x: (x @ x).tanh() * 2 + x.exp(), executor="native")
tg.manual_seed(0)
print(run(tg.randn(40, 40)).sum().item())
"""


DIES = "import os, signal; os.replace = lambda *files: os.kill(os.getpid(), signal.SIGKILL)\n"


def started(program: str = PROGRAM) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def result(process: subprocess.Popen[str]) -> str:
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return shown


@native
@posix
@pytest.mark.host("about the CPU's code")
def test_a_process_that_was_killed_and_several_at_once_and_damaged_files(folder: Path) -> None:
    killed = started(DIES + PROGRAM)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 1

    together = [started() for _ in range(3)]
    expected, *others = [result(process) for process in together]
    assert others == [expected] * 2
    files = sorted(folder.iterdir())
    assert [path.suffix for path in files] == [".o"] * len(files)
    assert all(code_cache.read(path.stem) for path in files)

    for path in files:
        path.write_bytes(bytes(path.stat().st_size))
    assert result(started()) == expected
    assert all(code_cache.read(path.stem) for path in files)
