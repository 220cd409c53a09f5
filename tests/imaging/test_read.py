"""Image files to arrays: one layout, stored values, and a FileError for all that is damaged."""

from __future__ import annotations

import gzip
import warnings

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from workbench.errors import FileError
from workbench.imaging.read import read_image

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
DEEP = (np.arange(48, dtype=np.uint16) * 1000).reshape(6, 8)


def write_dicom(path, values=DEEP, **elements):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = values.tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


@pytest.fixture
def files(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.png")
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=95)
    tifffile.imwrite(tmp_path / "a.tif", DEEP)
    write_dicom(tmp_path / "a.dcm")
    nibabel.save(nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    return tmp_path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dcm"])
def test_sixteen_bits_are_kept(files, name):
    image = read_image(files / name)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, DEEP[None])


def test_a_jpeg_is_grey_and_near_what_was_written(files):
    image = read_image(files / "a.jpg")
    assert image.shape == (1, 6, 8)
    assert np.abs(image.astype(int) - GREY).max() < 12


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 3), ("P", 3), ("RGB", 3), ("RGBA", 3)])
def test_every_picture_mode_becomes_grey_or_rgb(tmp_path, mode, channels):
    Image.fromarray(GREY).convert("RGB").convert(mode).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8
    assert image.shape == (1 if mode == "LA" else channels, 6, 8)


def test_a_tiff_of_several_pages_is_a_volume(tmp_path):
    values = np.arange(4 * 48, dtype=np.uint16).reshape(4, 6, 8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), values[None])


def test_dicom_comes_in_its_modalitys_units(tmp_path):
    path = write_dicom(tmp_path / "a", GREY.astype(np.uint16), RescaleSlope="2", RescaleIntercept="-1024")
    np.testing.assert_array_equal(read_image(path), GREY[None].astype(int) * 2 - 1024)


def test_monochrome1_is_inverted_within_the_stored_range(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path), 255 - GREY[None])


def test_several_dicom_frames_are_a_volume(tmp_path):
    values = np.stack([DEEP, DEEP[::-1]])
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "a.dcm", values, NumberOfFrames=2)), values[None])


def test_nifti_is_turned_as_a_radiologist_looks_at_it(files):
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    # RAS in the file: x to the right, y forward; here columns run to the left, rows backward.
    np.testing.assert_array_equal(read_image(files / "a.nii.gz")[0], values[::-1, ::-1].transpose(2, 1, 0))


def test_nifti_orientation_does_not_depend_on_how_it_was_stored(files):
    image = nibabel.load(files / "a.nii")
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nibabel.save(turned, files / "b.nii")
    np.testing.assert_array_equal(read_image(files / "b.nii"), read_image(files / "a.nii"))


def test_a_single_nifti_slice_stays_flat(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 1), np.uint8), np.eye(4)), tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").shape == (1, 4, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.dcm", "a.nii", "a.nii.gz"])
def test_a_file_cut_short_is_refused_by_name_with_the_mend(files, name, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = (files / name).read_bytes()
    (files / name).write_bytes(whole[: int(len(whole) * 0.8)])
    with pytest.raises(FileError, match=rf"{name} .*(cut short|damaged).*again"):
        read_image(files / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"hello, reader", "not an image"), (b"\x80\x04.", "pickle"), (b"<html>", "download it again")],
)
def test_what_is_no_image_is_named(tmp_path, content, said):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_image(tmp_path / "a.png")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileError, match=r"gone\.png does not exist; check the path"):
        read_image(tmp_path / "gone.png")


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="never unpickled"):
        read_image(tmp_path / "a.npy")


def test_a_nifti_header_that_claims_too_much_takes_no_memory(files):
    raw = bytearray((files / "a.nii").read_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (files / "a.nii").write_bytes(raw)
    with pytest.raises(FileError, match="claims"):
        read_image(files / "a.nii")


def test_dicom_without_pixels_says_what_it_is(files):
    dataset = pydicom.dcmread(files / "a.dcm")
    del dataset.PixelData
    dataset.save_as(files / "b.dcm")
    with pytest.raises(FileError, match="no pixels: it is a Secondary Capture"):
        read_image(files / "b.dcm")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["a.png", "a.jpg", "a.tif", "a.dcm", "a.nii", "a.nii.gz"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 255)), max_size=3),
)
def test_damage_gives_an_array_or_a_file_error(files, name, cut, flips):
    raw = bytearray((files / name).read_bytes())
    for place, bits in flips:
        raw[place % len(raw)] ^= bits
    damaged = files / f"damaged-{name}"
    damaged.write_bytes(raw[: int(len(raw) * cut)] if not flips else raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert read_image(damaged).ndim in {3, 4, 5}
        except FileError as error:
            assert damaged.name in str(error)  # noqa: PT017  # either outcome is right
