"""A camera that pans and zooms over the ground truth of real images, which moves along, with a network's faults."""

import math

import pytest
from scenes import Faults, as_frame, predictions, view

from yoso.categories import Categories
from yoso.evaluation.video_quality import count_video, video_quality
from yoso.files import read_id_map, read_json
from yoso.tracking.tracker import Tracker, TrackerSettings

SIZE, LENGTH = (256, 256), 24


def pan(t):
    return 40 + 90 * math.sin(2 * math.pi * t / 40), 30 + 4 * t, 1.0


def zoom(t):
    scale = math.exp(0.3 * math.sin(2 * math.pi * t / LENGTH))
    return 300 - 128 / scale, 300 - 128 / scale, scale


@pytest.fixture(params=[("facades", 3), ("nuclei", 35)], ids=["facades", "nuclei"])
def truth(request, shared):
    name, place = request.param
    folder = shared / "data" / name / "annotations"
    content = read_json(folder / "panoptic_val.json")
    entry = content["annotations"][place]
    id_map = read_id_map(folder / "panoptic_val" / entry["file_name"])
    return id_map, entry["segments_info"], Categories.from_json(content["categories"])


def quality(scene, settings):
    tracker = Tracker(settings)
    found = [tracker.update(result) for result in predictions(scene, Faults(appearance=None), seed=1)]
    frames = [as_frame(result, scene.categories) for result in found]
    return video_quality(count_video(scene.frames, frames, scene.categories), scene.categories)


@pytest.mark.data
@pytest.mark.parametrize(("move", "least"), [(pan, 0.85), (zoom, 0.75)])
def test_things_keep_their_identities(truth, move, least):
    scene = view("view", *truth, move, LENGTH, SIZE)
    found = quality(scene, TrackerSettings())
    assert found.num_tracks > 5
    assert found.idf1 > least


@pytest.mark.data
def test_motion_is_what_a_pan_needs(truth):
    scene = view("view", *truth, pan, LENGTH, SIZE)
    found, alone = (quality(scene, TrackerSettings(use_motion=use)) for use in (True, False))
    assert found.id_switches < alone.id_switches / 4
    assert found.vpq > alone.vpq
