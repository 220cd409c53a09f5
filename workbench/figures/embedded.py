"""Reading back what a figure's file says of its making. The file is searched as text; nothing in it is run."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from workbench.errors import FileError
from workbench.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterator

# Under this name a PNG file keeps the record; figure.py writes it.
PNG_KEY = "workbench:provenance"
# A record is some kilobytes; what unpacks to more than this is no figure of ours, or a trap.
MOST_BYTES = 64 * 2**20
STRING_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"\r\n": b"", b"\r": b"", b"\n": b""}


def read_provenance(path: str | Path) -> Provenance:
    """Tell what made a figure: read the record that Workbench wrote into a PDF, SVG or PNG file.

    Parameters
    ----------
    path : the file.

    Returns
    -------
    The figure's provenance, with that of everything it was made from.

    Raises
    ------
    FileError : where the file is missing, damaged, of another kind, or holds no record.
    """
    path = Path(path)
    if not path.is_file():
        message = f"{path} does not exist; give a PDF, SVG or PNG file that Workbench drew."
        raise FileError(message)
    content = path.read_bytes()
    if content.startswith(b"\x89PNG"):
        records = _in_png(path)
    elif b"%PDF-" in content[:1024]:
        records = _in_pdf(content)
    elif b"<svg" in content or path.suffix.lower() == ".svg":
        records = _in_svg(path, content)
    else:
        message = f"{path} is neither PDF, SVG nor PNG, and only those can hold the provenance of a figure."
        raise FileError(message)
    for record in records:
        try:
            return Provenance.from_json(record)
        except FileError:
            continue  # Somebody else's text in the same place.
    message = (
        f"{path} holds no provenance of Workbench: it was drawn by another program, or a program that changed it "
        "dropped the record. Ask for the file as Workbench saved it."
    )
    raise FileError(message)


def _in_png(path: Path) -> Iterator[str]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            found = picture.info.get(PNG_KEY)
    except (OSError, ValueError, SyntaxError) as error:
        message = f"{path} is a damaged PNG ({error}); take a sound copy."
        raise FileError(message) from error
    if found is not None:
        yield str(found)


def _in_svg(path: Path, content: bytes) -> Iterator[str]:
    """Return the text of each ``dc:description``; a file that declares entities, which can swell, is refused."""
    found: list[str] = []
    inside = False
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, _: object) -> None:
        nonlocal inside
        inside = name.rpartition(" ")[2] == "description"
        if inside:
            found.append("")

    def end(_: str) -> None:
        nonlocal inside
        inside = False

    def text(part: str) -> None:
        if inside:
            found[-1] += part

    def entity(*_: object) -> NoReturn:
        message = f"{path} declares XML entities, which no figure of Workbench does; it is not opened."
        raise FileError(message)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = text, entity
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        message = f"{path} is a damaged SVG ({error}); take a sound copy."
        raise FileError(message) from error
    yield from found


def _in_pdf(content: bytes) -> Iterator[str]:
    """Yield each ``/Subject`` text: first those in plain sight, then those that a program has packed into streams."""
    yield from _subjects(content)
    for match in re.finditer(rb"stream\r?\n", content):
        packed = zlib.decompressobj()
        try:
            unpacked = packed.decompress(content[match.end() :], MOST_BYTES)
        except zlib.error:
            continue
        if b"/Subject" in unpacked:
            yield from _subjects(unpacked)


def _subjects(content: bytes) -> Iterator[str]:
    for match in re.finditer(rb"/Subject\s*([(<])", content):
        raw = _literal(content, match.end()) if match[1] == b"(" else _hexadecimal(content, match.end())
        yield _decoded(raw)


def _literal(content: bytes, start: int) -> bytes:
    """Read a PDF string in parentheses (ISO 32000-1, 7.3.4.2): they nest, and a backslash starts an escape."""
    out = bytearray()
    depth = 1
    # A run of plain bytes, an escape, a bracket, or an end of line (any of the three counts as \n).
    for token in re.finditer(rb"[^\\()\r]+|\\([0-7]{1,3}|\r\n|.)|([()])|\r\n?", content[start:], re.DOTALL):
        escape, bracket = token[1], token[2]
        if bracket:
            depth += 1 if bracket == b"(" else -1
            if depth == 0:
                break
            out += bracket
        elif escape is not None:
            octal = escape.isdigit() and escape[:1] in b"01234567"
            out += bytes([int(escape, 8) & 255]) if octal else STRING_ESCAPES.get(escape, escape)
        else:
            out += b"\n" if token[0].startswith(b"\r") else token[0]
    return bytes(out)


def _hexadecimal(content: bytes, start: int) -> bytes:
    digits = re.sub(rb"[^0-9A-Fa-f]", b"", content[start:].split(b">", 1)[0])
    return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))


def _decoded(raw: bytes) -> str:
    for mark, encoding in ((b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"), (b"\xef\xbb\xbf", "utf-8")):
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, errors="replace")
    return raw.decode("latin-1")
