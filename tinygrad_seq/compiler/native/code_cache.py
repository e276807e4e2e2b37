"""Machine code in files, for the next process: read only where it is whole, unchanged, and nobody else could write it.

A file is its format, the length of the code, a digest of it and of the file's name, and the code. What does not fit is
compiled again. A folder that others can write to is not used at all, since whoever runs the code runs what they put
there. What merely cannot be read or written (a full disk, no home) is done without.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..warn_once import warn_once

LIMIT = 200 << 20  # bytes of all files; beyond, those go that were used least recently
FORMAT = b"tinygrad_seq machine code 1\n"
_HEAD = struct.Struct(f"<{len(FORMAT)}sQ32s")
_CODE = re.compile(r"[0-9a-f]{64}\.o")
_PART = re.compile(r"[0-9a-f]{64}\.(\d{1,9})\.\w+")  # a file that a process is writing: its number, and anything
_LONG = 3600.0  # seconds that no process takes to write a file


def cache_folder() -> Path | None:
    """$TINYGRAD_SEQ_CACHE, or a folder in the user's cache; None for a user who has no home."""
    chosen = os.environ.get("TINYGRAD_SEQ_CACHE")
    try:
        if chosen:
            return Path(chosen).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tinygrad_seq"
    except RuntimeError:  # no $HOME, and no entry among the system's users
        return None


def why_refused(folder: Path) -> str:
    """Why the files of a folder are not to be trusted; "" where they are, or where there is no folder."""
    try:
        status = folder.lstat()
    except OSError:
        return ""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if not _ours(status):
        return "it belongs to another user, or others can write to it"
    return ""


def read(name: str) -> bytes | None:
    """The code that was kept under a name, of 64 hexadecimal digits; None where there is none to be trusted."""
    folder = _trusted()
    if folder is None:
        return None
    path = folder / f"{name}.o"
    try:
        with open(path, "rb", opener=_no_link) as file:
            status = os.fstat(file.fileno())
            content = file.read() if stat.S_ISREG(status.st_mode) and _ours(status) else b""
    except OSError:
        return None
    code = content[_HEAD.size :]
    if content[: _HEAD.size] != _head(name, code):
        return None
    with suppress(OSError):
        os.utime(path)  # used now; the time of the last access is not kept everywhere
    return code


def write(name: str, code: bytes) -> None:
    """Keep code under a name, whole or not at all."""
    folder = _trusted()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _trusted() is None:  # somebody else has made it meanwhile
            return
        content = _head(name, code) + code
        _make_room(folder, len(content))
        descriptor, part = tempfile.mkstemp(prefix=f"{name}.{os.getpid()}.", dir=folder)  # for us alone: 0600
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)  # else a power cut can leave the name without the content
            os.replace(part, folder / f"{name}.o")
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)


def _head(name: str, code: bytes) -> bytes:
    return _HEAD.pack(FORMAT, len(code), hashlib.sha256(name.encode() + code).digest())


def _trusted() -> Path | None:
    """The folder, if there is one for us; one that is refused is told of once."""
    folder = cache_folder()
    if folder is None or not (why := why_refused(folder)):
        return folder
    warn_once(
        f"compile: machine code is neither read from {folder} nor kept there, because {why}. Each process compiles "
        "anew; make it a folder of your own, that nobody else can write to (chmod 700), or name another in "
        "$TINYGRAD_SEQ_CACHE"
    )
    return None


def described() -> str:
    """Where machine code is kept and how much of it, or why it is not."""
    folder = cache_folder()
    if folder is None:
        return "machine code is not kept: this user has no home; name a folder in $TINYGRAD_SEQ_CACHE"
    if why := why_refused(folder):
        return f"machine code is not kept in {folder}, because {why}"
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        return f"machine code is not kept in {folder}: {there} cannot be written to"
    sizes = []
    for path in folder.glob("*.o"):
        with suppress(FileNotFoundError):  # another process makes room
            sizes.append(path.stat().st_size)
    return f"machine code in {folder}: {len(sizes)} files, {sum(sizes) / 2**20:.0f} MiB of at most {LIMIT >> 20}"


def _ours(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this process's user, and nobody else can write to it."""
    if os.name != "posix":  # where a home's files are the user's alone, and have no such mode
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _make_room(folder: Path, needed: int) -> None:
    """Remove what processes have left that died while they wrote, and what was used least recently beyond the limit."""
    kept, size = [], needed
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another process does the same
            status = entry.stat(follow_symlinks=False)
            part = _PART.fullmatch(entry.name)
            if part is not None and (not _alive(int(part[1])) or time.time() - status.st_mtime > _LONG):
                os.unlink(entry.path)
            elif _CODE.fullmatch(entry.name):
                kept.append((status.st_mtime_ns, status.st_size, entry.path))
                size += status.st_size
    for _, length, path in sorted(kept):
        if size <= LIMIT:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        size -= length


def _alive(process: int) -> bool:
    """Whether there is a process of that number; yes, where nobody can tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
