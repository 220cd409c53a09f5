"""Errors that name the mend."""

from __future__ import annotations

import pytest

from workbench.errors import FileError, InputError, unknown_name


@pytest.mark.parametrize("given", ["grad-cam", "GradCAM", "gradcm", "grad_cam"])
def test_the_nearest_right_spelling_is_offered(given):
    assert "did you mean 'gradcam'? Known: gradcam, shap" in str(unknown_name("method", given, ["gradcam", "shap"]))


def test_nothing_is_offered_where_nothing_is_near():
    assert str(unknown_name("method", "zzz", ["gradcam"])) == "method 'zzz' is unknown. Known: gradcam"


def test_every_error_is_a_value_error():
    assert issubclass(FileError, InputError)
    assert issubclass(InputError, ValueError)
