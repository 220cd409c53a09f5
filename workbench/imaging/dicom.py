"""DICOM files to arrays: in the modality's units, bright for dense, colour as RGB."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import FileError
from workbench.imaging.hush import hushed

if TYPE_CHECKING:
    from pathlib import Path


def looks_like_dicom(head: bytes) -> bool:
    """Tell whether a file without the DICOM mark begins with an element of group 0002 or 0008, as old ones do."""
    return head[:4] in {
        b"\x08\0\0\0",
        b"\x08\0\x01\0",
        b"\x08\0\x05\0",
        b"\x08\0\x08\0",
        b"\x02\0\0\0",
        b"\x02\0\x10\0",
    }


def read_dicom(path: Path) -> np.ndarray:
    """Read the pixels of one DICOM file.

    Returns
    -------
    ``(1, H, W)`` grey, ``(3, H, W)`` RGB; with several frames ``(1 or 3, D, H, W)``. Rescale slope and intercept or
    the modality LUT are applied (whole numbers stay integers, others become float32), MONOCHROME1 is inverted within
    the stored range, palettes and YBR become RGB.

    Raises
    ------
    FileError : where the object has no pixels, is cut short, or has a transfer syntax that cannot be decoded.
    """
    with hushed("pydicom"):
        dataset = _dataset(path)
        _check_pixels(path, dataset)
        values = _decoded(path, dataset)
        return _layout(dataset, _in_units(dataset, values))


def _dataset(path: Path) -> Any:
    import pydicom

    dataset = pydicom.dcmread(path, force=True)
    if len(dataset) == 0:
        message = f"{path} is cut short, or not a DICOM file: it has no elements. Copy or export it again."
        raise FileError(message)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Files from before the standard's file format carry none; implicit little endian is the default (PS3.5, 10.1).
        implicit, little = dataset.original_encoding
        uid = pydicom.uid
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _check_pixels(path: Path, dataset: Any) -> None:
    from workbench.imaging.read import check_size

    element = next((dataset[k] for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in dataset), None)
    if element is None:
        kind = str(getattr(dataset.get("SOPClassUID"), "name", "") or "DICOM object")
        message = f"{path} has no pixels: it is a {kind}, or was cut short before them. Give image files only, or export it again."
        raise FileError(message)
    samples = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1))
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    check_size(path, samples * frames * max(1, int(dataset.BitsAllocated) // 8), path.stat().st_size)


def _decoded(path: Path, dataset: Any) -> np.ndarray:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    _quiet_gdcm()
    if syntax.is_transfer_syntax and syntax.is_compressed and not syntax.is_deflated:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if not available:
            message = (
                f"{path} is coded in transfer syntax {syntax.name!r}, for which no decoder is installed. Export it as "
                "JPEG 2000, JPEG-LS or uncompressed (for instance: gdcmconv --raw in.dcm out.dcm)."
            )
            raise FileError(message)
    try:
        values: np.ndarray = dataset.pixel_array
    except RuntimeError as error:
        why = "; ".join(line.strip() for line in str(error).splitlines()[1:]) or str(error)
        message = (
            f"{path} cannot be decoded: its pixels are damaged, cut short, or of a variety of {syntax.name!r} that the "
            f"installed decoders do not know ({why[:200]}). Export it again, best uncompressed."
        )
        raise FileError(message) from error
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        values = apply_color_lut(values, dataset)[..., :3]
    return _without_overlay_bits(dataset, values)


@functools.cache
def _quiet_gdcm() -> None:
    """Keep gdcm from writing to the terminal past Python; what matters it also raises."""
    try:
        import gdcm
    except ImportError:
        return
    for off in (gdcm.Trace.DebugOff, gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff):
        off()


def _without_overlay_bits(dataset: Any, values: np.ndarray) -> np.ndarray:
    """Clear what old files keep above the stored bits (overlays), which would shine as white specks."""
    spare = values.dtype.itemsize * 8 - int(dataset.get("BitsStored", 0) or 0)
    grey = str(dataset.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
    lowest = int(dataset.get("HighBit", 0)) == int(dataset.get("BitsStored", 0)) - 1
    exact = values.dtype.itemsize * 8 == int(dataset.BitsAllocated)
    if values.dtype.kind in "iu" and grey and exact and lowest and 0 < spare < values.dtype.itemsize * 8:
        return (values << spare) >> spare
    return values


def _in_units(dataset: Any, values: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import apply_modality_lut

    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if not photometric.startswith("MONOCHROME") or values.dtype.kind == "f":
        return values
    flipped = photometric == "MONOCHROME1"
    if dataset.get("ModalityLUTSequence"):
        values = apply_modality_lut(values, dataset)
        return values.max() - values + values.min() if flipped else values
    if flipped:
        bits = int(dataset.BitsStored)
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.get("PixelRepresentation") else (0, 2**bits - 1)
        values = (sum(ends) - values.astype(np.int64)).astype(values.dtype)
    slope, intercept = float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    if (slope, intercept) == (1.0, 0.0):
        return values
    if not (slope.is_integer() and intercept.is_integer()):
        return (values * slope + intercept).astype(np.float32)
    whole = values.astype(np.int64) * int(slope) + int(intercept)
    narrow = np.iinfo(np.int16)
    fits = narrow.min <= whole.min() and whole.max() <= narrow.max
    return whole.astype(np.int16 if fits else np.int32)


def _layout(dataset: Any, values: np.ndarray) -> np.ndarray:
    colour = values.ndim > 2 and values.shape[-1] == 3 and _has_colour(dataset)
    return np.moveaxis(values, -1, 0) if colour else values[None]


def _has_colour(dataset: Any) -> bool:
    return int(dataset.get("SamplesPerPixel", 1)) > 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
