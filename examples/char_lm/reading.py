"""The text's files: which there are, in which encoding, and what is in them, block by block."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import UserError

BLOCK = 1 << 22  # bytes read at once
SAMPLE = 1 << 17  # bytes of which an encoding is found out
MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The files that were given, and those in the folders that were, in the order of their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            if not inside:
                raise UserError(f"the folder {path} has no files in it. Give text files with --text")
            found += inside
        else:
            found.append(path)
    return found


def documentation() -> str:
    """Python's own documentation, which every CPython carries."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError("this Python came without its documentation. Give a text file with --text") from None
    return "\n".join(topics.values())


def raw_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise UserError(f"cannot read the text {path}: {error.strerror}. Give a text file with --text") from None


def blocks(path: Path, encoding: str | None = None) -> Iterator[str]:
    """The text of a file. Without `encoding`, it is found out: a mark at the beginning, UTF-8, or the likeliest."""
    encoding = encoding or encoding_of(path)
    decoder = codecs.getincrementaldecoder(encoding)()
    read = 0
    try:
        for block in raw_blocks(path):
            read += len(block)
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not {encoding}: the byte {error.object[error.start]:#04x} at offset "
            f"{read - len(error.object) + error.start} ({error.reason}). Say with --encoding what it is"
        ) from None
    except UnicodeError as error:  # UTF-16 without a mark, and the like
        raise UserError(f"{path} is not {encoding}: {error}. Say with --encoding what it is") from None


def known_encoding(name: str) -> str:
    """The name of an encoding that Python can read texts in."""
    try:
        "".encode(name)
        codecs.getincrementaldecoder(name)()
    except (LookupError, ValueError):
        raise UserError(f"--encoding: Python knows no encoding {name!r}. Take one such as utf-8 or latin-1") from None
    return name


def encoding_of(path: Path) -> str:
    """The encoding of a file: by the mark at its beginning, by its NULs, UTF-8 if it is, or the likeliest."""
    sample = b""
    for block in raw_blocks(path):
        sample = block[:SAMPLE]
        break
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    if wide := wide_encoding(sample):
        return wide
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in raw_blocks(path):
            decoder.decode(block)
        decoder.decode(b"", final=True)
        return "utf-8"
    except UnicodeDecodeError as error:
        return likeliest_encoding(path, sample, error)


def wide_encoding(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, known by its NULs; to UTF-8 these would be characters."""
    if b"\0" not in sample:
        return None
    nuls = [sample[k::4].count(0) / max(len(sample[k::4]), 1) for k in range(4)]
    if nuls[0] > 0.9 and nuls[1] > 0.9 and nuls[3] < 0.1:
        return "utf-32-be"
    if nuls[2] > 0.9 and nuls[3] > 0.9 and nuls[0] < 0.1:
        return "utf-32-le"
    even, odd = (nuls[0] + nuls[2]) / 2, (nuls[1] + nuls[3]) / 2
    if odd > 0.3 and even < 0.05:
        return "utf-16-le"
    return "utf-16-be" if even > 0.3 and odd < 0.05 else None


def likeliest_encoding(path: Path, sample: bytes, error: UnicodeDecodeError) -> str:
    """What charset-normalizer takes the text for."""
    wrong = f"{path} is not UTF-8 (the byte {error.object[error.start]:#04x}: {error.reason})"
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise UserError(
            f"{wrong}. Say with --encoding what it is, or let it be found out: "
            'pip install "tinygrad-seq[examples]" brings charset-normalizer'
        ) from None
    best = from_bytes(sample).best()
    if best is None or best.encoding == "ascii":
        raise UserError(f"{wrong}, nor anything that charset-normalizer knows. Say with --encoding what it is")
    print(f"char_lm: {path} is not UTF-8; read as {best.encoding}, the likeliest (--encoding decides)", file=sys.stderr)
    return best.encoding
