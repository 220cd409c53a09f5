"""NIfTI files to arrays, turned as a radiologist looks at them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import FileError
from workbench.imaging.hush import hushed

if TYPE_CHECKING:
    from pathlib import Path

GZIP = b"\x1f\x8b"


def looks_like_nifti(head: bytes) -> bool:
    """Tell whether the first 540 bytes are a NIfTI header, or a gzip file, which holds nothing else here."""
    return head.startswith(GZIP) or head[344:348] in {b"n+1\0", b"ni1\0"} or head[4:8] == b"n+2\0"


def read_nifti(path: Path) -> np.ndarray:
    """Read one NIfTI file (``.nii`` or ``.nii.gz``).

    Returns
    -------
    ``(1, D, H, W)``: slices from inferior to superior, rows from anterior to posterior, columns from the patient's
    right to left, as an axial DICOM series lies. The nearest right-angled orientation is taken, nothing is resampled.
    A file with a single slice comes as ``(1, H, W)``, with superior up where the slice is sagittal or coronal.
    A fourth axis (time, contrast) becomes channels. Stored integers stay integers unless the header scales them
    (then float32).

    Raises
    ------
    FileError : where the file is cut short or damaged, or holds complex numbers.
    """
    with hushed("nibabel.global", "nibabel"):
        image = _upright(*_opened(path))
        values = np.asanyarray(image.dataobj)
    if values.dtype.names is not None:
        values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
    if values.dtype.kind not in "biuf":
        message = f"{path} holds values of type {values.dtype}; an image is real numbers. Export its magnitude."
        raise FileError(message)
    return _layout(values.astype(np.float32) if values.dtype == np.float64 else values)


def _opened(path: Path) -> tuple[Any, tuple[int, ...]]:
    """Read header and pixels from memory, so that a damaged header cannot ask for more than the file holds."""
    import nibabel

    from workbench.imaging.read import check_size

    compressed = path.stat().st_size
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        head = stream.read(540)
        kind: Any = nibabel.Nifti2Image if head[4:8] == b"n+2\0" else nibabel.Nifti1Image
        header: Any = kind.header_class(head[: kind.header_class.template_dtype.itemsize], check=False)
        if header["magic"].item() not in {b"n+1", b"n+2"}:
            message = f"{path} is not a NIfTI file that can be read, or its header is damaged. Copy or export it again."
            raise FileError(message)
        shape = tuple(int(extent) for extent in header.get_data_shape())
        if not 2 <= len(shape) <= 4 and set(shape[4:]) != {1}:
            message = f"{path} has shape {shape}; an image has two to four axes."
            raise FileError(message)
        if min(shape) < 1:
            message = f"{path} is damaged: its header claims the shape {shape}. Copy or export it again."
            raise FileError(message)
        pixels = int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
        check_size(path, pixels, compressed)
        needed = int(header.get_data_offset()) + pixels
        content = head + stream.read(max(0, needed - len(head)))
        if len(content) < needed:
            message = f"{path} is cut short: it holds {len(content):,} of {needed:,} bytes. Copy or export it again."
            raise FileError(message)
        if packed:
            stream.read(1)  # past the end, where gzip compares its checksum
    return kind.from_bytes(content), shape


def _upright(image: Any, shape: tuple[int, ...]) -> Any:
    """Bring the axes to right–left, anterior–posterior and inferior–superior by turning and mirroring alone."""
    import nibabel

    if len(shape) == 2:
        image = type(image)(np.asanyarray(image.dataobj)[..., None], image.affine)
    axes: Any = nibabel.orientations
    turn = axes.ornt_transform(axes.io_orientation(image.affine), axes.axcodes2ornt("LPS"))
    return image.as_reoriented(turn)


def _layout(values: np.ndarray) -> np.ndarray:
    channels = values.reshape(*values.shape[:3], -1)
    volume = channels.transpose(3, 2, 1, 0)
    flat = [axis for axis in (1, 2, 3) if volume.shape[axis] == 1]
    if len(flat) != 1:
        return volume
    # A sagittal or coronal slice is looked at with the head up.
    return volume[:, 0] if flat == [1] else volume[:, ::-1].squeeze(axis=flat[0])
