"""Image files of the usual kinds to arrays: what the file stores, in one layout, or a message that names the mend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import FileError
from workbench.imaging.hush import hushed

if TYPE_CHECKING:
    from collections.abc import Callable

# Magic numbers stand at the start of the file; the ending of the name is only asked where there is none.
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Kinds that are often met and not images here; said by name, so that nobody searches for damage.
STRANGERS = {
    b"\x80": "a pickle, which is never opened; save the array with np.save(…, allow_pickle=False)",
    b"PK\x03\x04": "an archive (ZIP, NPZ or Excel); unpack it, or give an NPZ to wb.Cohort.from_arrays",
    b"%PDF": "a PDF; export its images as PNG",
    b"NRRD": "an NRRD volume; convert it to NIfTI",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it with 'zstd -d'",
    b"<": "a text or web page, perhaps an error message that was saved as an image; download it again",
}
# A decoder may be asked for this many times the file's bytes; a damaged header asks for far more.
# Deflate, the densest common coding, reaches 1,032.
DENSEST = 1100
# Small files are let through whatever their header claims, up to this many bytes of pixels.
HARMLESS = 64 * 2**20


def read_image(path: str | Path) -> np.ndarray:
    """Read one image file.

    PNG, JPEG, BMP, PGM/PPM, TIFF, DICOM, NIfTI and ``.npy`` are told apart by their content, not by their name.

    Parameters
    ----------
    path : the file.

    Returns
    -------
    Array ``(C, *spatial)`` in the stored type (native byte order): ``(1, H, W)`` grey, ``(3, H, W)`` colour,
    ``(1, D, H, W)`` volumes and multi-frame files. Transparency is laid over black. A 16-bit grey image keeps its
    16 bits; 16-bit colour PNG is read at 8. DICOM comes in its modality's units (rescale applied), MONOCHROME1
    inverted so that bright is dense, colour as RGB. NIfTI comes as a radiologist looks at it, see
    :func:`workbench.imaging.nifti.read_nifti`. An ``.npy`` file holds ``(H, W)``, or ``(C, *spatial)`` as returned here.

    Raises
    ------
    FileError : where the file is missing, empty, cut short, damaged, not an image, or coded in a way that no
        installed library decodes.
    """
    path = Path(path)
    head = _head(path)
    reader = _reader(path, head)
    try:
        image = reader(path)
    except (FileError, ImportError):  # A package that is missing is no fault of the file.
        raise
    except Exception as error:  # A damaged file makes decoders raise anything at all; all of it means the same.
        message = f"{path} cannot be read: it is damaged or cut short ({_said(error)}). Copy or export it again."
        raise FileError(message) from error
    if image.size == 0:
        message = f"{path} holds an image without pixels (shape {image.shape}). Export it again."
        raise FileError(message)
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def check_size(path: Path, needed: int, stored: int) -> None:
    """Refuse a file whose header claims more pixels than its bytes can hold, before memory is taken for them."""
    if needed > max(HARMLESS, DENSEST * stored):
        message = (
            f"{path} is damaged or cut short: its header claims {needed:,} bytes of pixels and the file has {stored:,}. "
            "Copy or export it again."
        )
        raise FileError(message)


def _head(path: Path) -> bytes:
    if path.is_dir():
        message = f"{path} is a folder; give one image file (for a folder of classes: wb.Cohort.from_folder)."
        raise FileError(message)
    try:
        with path.open("rb") as stream:
            head = stream.read(540)
    except FileNotFoundError as error:
        message = f"{path} does not exist; check the path, and the folder it is counted from."
        raise FileError(message) from error
    except OSError as error:
        message = f"{path} cannot be opened ({error.strerror}); check its permissions."
        raise FileError(message) from error
    if not head:
        message = f"{path} is empty (0 bytes): the download or copy failed. Copy it again."
        raise FileError(message)
    return head


def _reader(path: Path, head: bytes) -> Callable[[Path], np.ndarray]:
    from workbench.imaging.dicom import looks_like_dicom, read_dicom
    from workbench.imaging.nifti import looks_like_nifti, read_nifti

    name = path.name.lower()
    if head[128:132] == b"DICM":
        return read_dicom
    if head.startswith(PICTURES):
        return _read_picture
    if head.startswith(TIFF):
        return _read_tiff
    if head.startswith(b"\x93NUMPY"):
        return _read_npy
    if looks_like_nifti(head) or name.endswith((".nii", ".nii.gz")):
        return read_nifti
    if looks_like_dicom(head) or name.endswith((".dcm", ".dicom")):
        return read_dicom
    stranger = next((said for magic, said in STRANGERS.items() if head.startswith(magic)), None)
    what = f"it is {stranger}" if stranger else "its first bytes are those of no image kind, or are damaged"
    message = f"{path} is not an image that can be read: {what}. Known: PNG, JPEG, BMP, PGM, TIFF, DICOM, NIfTI, npy."
    raise FileError(message)


def _read_picture(path: Path) -> np.ndarray:
    from PIL import Image, ImageFile, ImageOps

    # Another library may have told Pillow to fill what is missing with grey; a cut file must not pass for an image.
    with hushed("PIL"):
        lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            with Image.open(path, formats=("PNG", "JPEG", "BMP", "PPM")) as picture:
                if picture.format == "PNG":
                    _check_png_end(path)
                check_size(path, picture.width * picture.height, path.stat().st_size)
                picture.load()
                return _channels(ImageOps.exif_transpose(picture))
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _check_png_end(path: Path) -> None:
    """Refuse a PNG without its last chunk: Pillow is content once it has every row, checksum or not."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(8)
        while len(start := stream.read(8)) == 8:
            stream.seek(int.from_bytes(start[:4], "big") + 4, 1)
            if start[4:] == b"IEND" and stream.tell() <= size:
                return
    message = f"{path} is cut short: the PNG's end is missing after {size:,} bytes. Copy or export it again."
    raise FileError(message)


def _channels(picture: Any) -> np.ndarray:
    """Turn Pillow's many modes into grey or RGB planes."""
    from PIL import Image

    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode in {"P", "PA", "LA", "La", "RGBA", "RGBa"} or "transparency" in picture.info:
        grey = picture.mode in {"L", "LA", "La"}
        clear = picture.convert("RGBA")
        black = Image.new("RGBA", clear.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, clear).convert("L" if grey else "RGB")
    elif picture.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    if picture.mode == "I" and picture.format in {"PNG", "PPM"}:
        values = values.astype(np.uint16)
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def _read_tiff(path: Path) -> np.ndarray:
    import tifffile

    size = path.stat().st_size
    with hushed("tifffile"), tifffile.TiffFile(path) as tiff:
        pages: list[Any] = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage | tifffile.TiffFrame)]
        needed = sum(page.nbytes for page in pages)
        check_size(path, needed, size)
        for page in pages:
            _check_strips(path, page, size)
        series = tiff.series[0]
        try:
            values, axes = series.asarray(), series.axes
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            # tifffile leaves LZW and JPEG to a package that need not be there; Pillow decodes the common ones.
            return _read_compressed_tiff(path)
        if pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.dtype.kind in "ub":
            values = ~values if values.dtype == bool else np.iinfo(values.dtype).max - values
        elif pages[0].photometric == tifffile.PHOTOMETRIC.PALETTE and pages[0].colormap is not None:
            values, axes = np.moveaxis(pages[0].colormap[:, values], 0, -1), axes + "S"
    values = values.astype(np.uint8) * 255 if values.dtype == bool else values
    return _layout(path, values, axes)


def _check_strips(path: Path, page: Any, size: int) -> None:
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > size or min(page.databytecounts) <= 0:
        message = (
            f"{path} is cut short: page {page.index + 1} lies beyond the end of the file. Copy or export it again."
        )
        raise FileError(message)


def _layout(path: Path, values: np.ndarray, axes: str) -> np.ndarray:
    """Bring a TIFF series to ``(C, *spatial)``; S are samples of a colour, C channels, everything else is depth."""
    colour = next((axes.index(letter) for letter in "SC" if letter in axes), None)
    if colour is not None:
        values = np.moveaxis(values, colour, 0)
        if "S" in axes and values.shape[0] in {2, 4}:
            values = values[:-1]
    else:
        values = values[None]
    while values.ndim > 3 and 1 in values.shape[1:-2]:
        values = values.squeeze(axis=1 + values.shape[1:-2].index(1))
    if values.ndim not in {3, 4}:
        message = f"{path} has axes {axes} of shape {values.shape}; an image has height and width, a volume depth too."
        raise FileError(message)
    return values


def _read_compressed_tiff(path: Path) -> np.ndarray:
    from PIL import Image, ImageSequence

    with Image.open(path, formats=("TIFF",)) as picture:
        pages = [_channels(page.copy()) for page in ImageSequence.Iterator(picture)]
    return pages[0] if len(pages) == 1 else np.stack(pages, axis=1)


def _read_npy(path: Path) -> np.ndarray:
    from workbench.storage import read_array

    values = read_array(path)
    if values.dtype.kind not in "biuf" or values.ndim not in {2, 3, 4}:
        message = (
            f"{path} holds an array of type {values.dtype} and shape {values.shape}; an image is numbers of shape "
            "(H, W), (C, H, W) or (C, D, H, W)."
        )
        raise FileError(message)
    return values[None] if values.ndim == 2 else values


def _said(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return (first[0][:160] if first else type(error).__name__).rstrip(".")
