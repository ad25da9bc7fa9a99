"""Results for the package supervision, which is not a dependency."""

import sys

import numpy as np
import pytest

import yoso
from yoso.errors import MissingPackageError

SEGMENTATION = np.array([[1, 1, 0], [2, 2, 2]], np.int32)
COW = {"id": 1, "label_id": 4, "label": "cow", "is_thing": True, "score": 0.75, "area": 2, "bbox": [0, 0, 2, 1]}
SKY = {"id": 2, "label_id": 7, "label": "sky", "is_thing": False, "score": 0.5, "area": 3, "bbox": [0, 1, 3, 1]}


def test_every_segment_is_a_detection():
    sv = pytest.importorskip("supervision")
    tracked = yoso.Tracker().update({"segmentation": SEGMENTATION, "segments_info": [COW, SKY]})
    found = yoso.to_supervision(tracked)
    assert isinstance(found, sv.Detections)
    np.testing.assert_array_equal(found.xyxy, [[0, 0, 2, 1], [0, 1, 3, 2]])
    np.testing.assert_array_equal(found.mask, [SEGMENTATION == 1, SEGMENTATION == 2])
    assert found.class_id.tolist() == [4, 7]
    assert found.tracker_id.tolist() == [info["track_id"] for info in tracked["segments_info"]]
    assert found.confidence.tolist() == [0.75, 0.5]
    things = found[found.data["is_thing"]]
    assert (len(things), things.data["class_name"].tolist()) == (1, ["cow"])
    drawn = sv.MaskAnnotator().annotate(np.zeros((2, 3, 3), np.uint8), found)
    assert drawn[0, 0].any()
    assert not drawn[0, 2].any()


def test_without_a_tracker_and_without_segments():
    pytest.importorskip("supervision")
    assert yoso.to_supervision({"segmentation": SEGMENTATION, "segments_info": [COW]}).tracker_id is None
    empty = yoso.to_supervision({"segmentation": np.zeros((4, 5), np.int32), "segments_info": []})
    assert (len(empty), empty.mask.shape) == (0, (0, 4, 5))


def test_the_package_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingPackageError, match=r"^to_supervision needs the package supervision; install it$"):
        yoso.to_supervision({"segmentation": SEGMENTATION, "segments_info": [COW]})
