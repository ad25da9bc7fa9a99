"""The errors that name what to install."""

import sys

import pytest

from yoso.errors import ConfigError, MissingPackageError
from yoso.installation import installed_version, missing_package, optional_packages, versions


def test_a_missing_package_names_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingPackageError) as caught, optional_packages("mask AP"):
        import faster_coco_eval  # noqa: F401
    assert str(caught.value) == 'mask AP needs faster-coco-eval; run: pip install "yoso-panoptic[eval]"'
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "faster_coco_eval"


def test_without_pytorch_that_is_what_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for package in ("jaxtyping", "timm"):
        assert str(missing_package(package, "x")) == 'x needs PyTorch; run: pip install "yoso-panoptic[torch]"'
    assert str(missing_package("openvino")) == 'openvino is not installed; run: pip install "yoso-panoptic[openvino]"'


def test_a_command_names_its_own_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    expected = 'yoso train needs PyTorch; run: pip install "yoso-panoptic[train]"'
    with pytest.raises(MissingPackageError) as caught, optional_packages("yoso train", "train"):
        import torch
    assert str(caught.value) == expected
    with (
        pytest.raises(MissingPackageError) as caught,
        optional_packages("yoso train", "train"),
        optional_packages("model coco-r50"),
    ):
        import torch  # noqa: F401
    assert str(caught.value) == expected


def test_the_error_of_a_feature_passes_through_the_command():
    error = missing_package("openvino")
    with pytest.raises(MissingPackageError) as caught, optional_packages("yoso export", "export"):
        raise error
    assert caught.value is error


def test_a_package_that_cannot_be_loaded_is_not_called_missing():
    with pytest.raises(MissingPackageError) as caught, optional_packages("yoso predict"):
        raise ImportError("libcudart.so.13: cannot open shared object file", name="torch._C")
    assert str(caught.value) == (
        "torch is installed but cannot be loaded (libcudart.so.13: cannot open shared object file); "
        'run: pip install "yoso-panoptic[torch]" --force-reinstall'
    )


def test_an_error_of_our_own_stays_what_it_is():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), optional_packages("yoso predict"):
        import yoso.no_such_module  # noqa: F401


def test_versions_of_what_is_installed():
    found = versions(["yoso", "numpy", "no-such-package"])
    assert list(found) == ["yoso", "numpy"]
    assert found["yoso"] == installed_version()
