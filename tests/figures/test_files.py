"""What a saved figure promises: its size, its fonts, its bytes, its provenance, and no trace in matplotlib."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zlib

import matplotlib as mpl
import pytest

from workbench import figures
from workbench.errors import FileError, InputError
from workbench.figures import style
from workbench.figures.embedded import PNG_KEY
from workbench.figures.figure import Figure
from workbench.provenance import Provenance

MADE = Provenance("figures.test", {"words": r"(unpaired \ ) ü 中文 %PDF /Subject"}, "ab" * 32, seed=3)


@pytest.fixture
def figure():
    drawn = Figure(89, 60, style="default", provenance=MADE)
    drawn.add_axes((0.2, 0.2, 0.7, 0.7)).plot([0, 1], [0, 1])
    return drawn


@pytest.mark.parametrize(("width", "mm"), [("single", 89), ("double", 183), (120, 120)])
def test_a_pdf_is_as_wide_as_promised(audit, tmp_path, width, mm) -> None:
    figures.roc(audit, width=width).savefig(tmp_path / "roc.pdf")
    box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", (tmp_path / "roc.pdf").read_bytes())
    left, _, right, _ = map(float, box[1].split())
    assert (right - left) / 72 * 25.4 == pytest.approx(mm, abs=0.1)


@pytest.mark.parametrize("journal", ["default", "nature", "ieee"])
def test_a_pdf_holds_truetype_fonts_only(audit, tmp_path, journal) -> None:
    figures.roc(audit, style=journal).savefig(tmp_path / "forest.pdf")
    content = (tmp_path / "forest.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content


def test_an_svg_keeps_its_text_as_text(figure, tmp_path) -> None:
    figure.axes[0].set_xlabel("1 − specificity")
    figure.savefig(tmp_path / "a.svg")
    assert "1 − specificity</text>" in (tmp_path / "a.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_every_format_gives_the_provenance_back(figure, tmp_path, suffix) -> None:
    figure.savefig(tmp_path / f"a.{suffix}")
    assert figures.read_provenance(tmp_path / f"a.{suffix}") == MADE


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_a_figure_drawn_twice_gives_the_same_bytes(audit, tmp_path, suffix) -> None:
    for name in ("one", "two"):
        figures.roc(audit, "sex").savefig(tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_a_stream_gets_the_provenance_too(figure, tmp_path) -> None:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    (tmp_path / "a.svg").write_bytes(stream.getvalue())
    assert figures.read_provenance(tmp_path / "a.svg") == MADE


def test_a_format_without_room_for_provenance_is_refused(figure, tmp_path) -> None:
    with pytest.raises(InputError, match="TIFF file cannot hold"):
        figure.savefig(tmp_path / "a.tiff")


def test_the_user_settings_are_neither_used_nor_changed(audit, tmp_path) -> None:
    figures.roc(audit).savefig(tmp_path / "plain.svg")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        figures.roc(audit).savefig(tmp_path / "set.svg")
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "set.svg").read_bytes()


def test_pyplot_is_never_loaded() -> None:
    code = (
        "import sys, io; from workbench.figures.figure import Figure; from workbench.provenance import Provenance\n"
        "f = Figure(89, 60, style='nature', provenance=Provenance('x', {}, 'ab')); f.add_axes((0, 0, 1, 1))\n"
        "f.savefig(io.BytesIO(), format='pdf'); f._repr_png_(); print('matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_a_notebook_shows_it_at_its_size_with_provenance(figure, tmp_path, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.publish_display_data", lambda *given: shown.append(given))
    figure._ipython_display_()
    [(data, metadata)] = shown
    assert metadata == {"image/png": {"width": 505, "height": 340}}  # 89 × 60 mm at 144 dots an inch
    (tmp_path / "a.png").write_bytes(data["image/png"])
    assert figures.read_provenance(tmp_path / "a.png") == MADE


def test_drawing_writes_nothing_to_the_notebook(audit, caplog) -> None:
    style._measured.cache_clear()
    figures.forest(audit, width="single")._repr_png_()
    assert caplog.records == []


def test_composed_axes_are_saved_with_the_provenance_given(audit, tmp_path) -> None:
    from matplotlib.figure import Figure as PlainFigure

    ax = figures.roc(audit, ax=PlainFigure().add_subplot())
    figures.save(ax, tmp_path / "mine.pdf", audit.provenance)
    assert figures.read_provenance(tmp_path / "mine.pdf") == audit.provenance


def test_a_foreign_figure_holds_no_provenance(tmp_path) -> None:
    from matplotlib.figure import Figure as PlainFigure

    for suffix in ("pdf", "svg", "png"):
        PlainFigure().savefig(tmp_path / f"a.{suffix}")
        with pytest.raises(FileError, match="holds no provenance"):
            figures.read_provenance(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
@pytest.mark.parametrize("kept", [1, 9, 300])
def test_a_file_cut_short_is_a_file_error(figure, tmp_path, suffix, kept) -> None:
    path = tmp_path / f"a.{suffix}"
    figure.savefig(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileError):
        figures.read_provenance(path)


def test_missing_and_other_files_are_file_errors(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(FileError, match=r"neither PDF, SVG nor PNG"):
        figures.read_provenance(tmp_path / "a.txt")
    with pytest.raises(FileError, match="does not exist"):
        figures.read_provenance(tmp_path / "b.png")


def test_an_svg_that_declares_entities_is_not_opened(tmp_path) -> None:
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg xmlns="http://www.w3.org/2000/svg"><description>&a;</description></svg>'
    (tmp_path / "a.svg").write_text(bomb)
    with pytest.raises(FileError, match="entities"):
        figures.read_provenance(tmp_path / "a.svg")


def test_a_png_whose_text_unpacks_without_end_is_a_file_error(tmp_path) -> None:
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    body = PNG_KEY.encode() + b"\0\0" + zlib.compress(b" " * 2**26)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"zTXt", body) + pixels + chunk(b"IEND", b"")
    )
    with pytest.raises(FileError):
        figures.read_provenance(tmp_path / "a.png")


def test_a_pdf_repacked_into_streams_still_gives_the_provenance(tmp_path) -> None:
    hexed = ("\ufeff" + MADE.to_json()).encode("utf-16-be").hex()
    packed = zlib.compress(f"<< /Subject <{hexed}> >>".encode())
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n1 0 obj\nstream\n" + packed + b"\nendstream\n%%EOF")
    assert figures.read_provenance(tmp_path / "a.pdf") == MADE
