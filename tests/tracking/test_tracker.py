"""Identities: what stays the same, what begins, what comes back; over drawn scenes, and by hand."""

import numpy as np
import pytest
from scenes import (
    BOX,
    Faults,
    Thing,
    as_frame,
    crossing,
    draw,
    failing_light,
    illumination,
    line,
    occlusion,
    pan,
    predictions,
    returning,
    still,
)

from yoso.errors import ConfigError
from yoso.evaluation.video_quality import count_video, video_quality
from yoso.tracking.settings import checked_parameter
from yoso.tracking.tracker import Tracker, TrackerSettings

NO_FAULTS = Faults(0, 0, 0, 0, None)


def tracked(scene, faults=NO_FAULTS, settings=None, seed=0):
    tracker = Tracker(settings or TrackerSettings())
    return [tracker.update(result) for result in predictions(scene, faults, seed)]


def quality(scene, results):
    frames = [as_frame(result, scene.categories) for result in results]
    return video_quality(count_video(scene.frames, frames, scene.categories), scene.categories)


def result(text, **of_segments):
    """A frame of one row, one digit per pixel; all segments are things of class 0 unless told otherwise."""
    row = np.array([[int(digit) for digit in text]], np.int32)
    infos = [{"id": i, "label_id": 0, "label": "cat"} for i in np.unique(row).tolist() if i]
    return {"segmentation": row, "segments_info": [{**info, **of_segments.get(f"s{info['id']}", {})} for info in infos]}


def ids(result):
    return [info["track_id"] for info in result["segments_info"]]


def test_things_keep_their_identity_whatever_their_segment_ids():
    tracker = Tracker()
    assert ids(tracker.update(result("1110022"))) == [1, 2]
    assert ids(tracker.update(result("5550033"))) == [2, 1]


def test_everything_else_is_left_as_it_was():
    given = {**result("1110022", s1={"score": 0.5, "more": "x"}), "about": 3}
    before = given["segmentation"].copy()
    found = Tracker().update(given)
    assert found["about"] == 3
    assert found["segmentation"] is given["segmentation"]
    np.testing.assert_array_equal(given["segmentation"], before)
    assert [info["id"] for info in found["segments_info"]] == [1, 2]
    assert {"score": 0.5, "more": "x", "label": "cat"}.items() <= found["segments_info"][0].items()
    assert "track_id" not in given["segments_info"][0]


def test_stuff_has_one_identity_per_class_which_no_thing_has():
    tracker = Tracker()
    stuff = {"is_thing": False, "label_id": 7}
    assert ids(tracker.update(result("1122", s1=stuff))) == [2, 1]
    assert ids(tracker.update(result("3333", s3={**stuff, "label_id": 8}))) == [3]
    assert ids(tracker.update(result("2211", s2=stuff))) == [1, 2]


def test_reset_begins_anew():
    tracker = Tracker()
    assert ids(tracker.update(result("1122"))) == [1, 2]
    tracker.reset()
    assert ids(tracker.update(result("002211"))) == [1, 2]


def test_a_track_is_confirmed_after_some_frames():
    tracker = Tracker(TrackerSettings(confirm_frames=3))
    confirmed = [tracker.update(result("1100"))["segments_info"][0]["is_confirmed"] for _ in range(4)]
    assert confirmed == [False, False, True, True]


def test_a_lost_track_is_found_again_until_it_is_forgotten():
    for num_lost, expected in ((3, [1]), (4, [2])):
        tracker = Tracker(TrackerSettings(max_lost_frames=3))
        for _ in range(2):
            tracker.update(result("110000"))
        for _ in range(num_lost):
            tracker.update(result("000000"))
        assert ids(tracker.update(result("110000"))) == expected


def test_an_unconfirmed_track_is_forgotten_sooner():
    for num_lost, expected in ((2, [1]), (3, [2])):
        tracker = Tracker()
        for text in ("110000", *["000000"] * num_lost):
            tracker.update(result(text))
        assert ids(tracker.update(result("110000"))) == expected


def test_a_class_that_errs_for_one_frame_is_outvoted():
    tracker = Tracker()
    cat, dog = {"label_id": 0, "label": "cat"}, {"label_id": 1, "label": "dog"}
    labels = []
    for of_one in (cat, cat, dog, cat, dog, dog, dog, dog):
        (info,) = tracker.update(result("1110", s1=of_one))["segments_info"]
        labels.append((info["label_id"], info["label"]))
        assert info["track_id"] == 1
    assert labels == [(0, "cat")] * 5 + [(1, "dog")] * 3


def test_other_predictors_need_only_ids_and_classes():
    tracker = Tracker()
    first = np.zeros((40, 60), np.int64)
    first[5:20, 5:25] = 1 << 24
    first[25:35, 30:50] = 7
    infos = [{"id": 1 << 24, "label_id": 2}, {"id": 7, "label_id": 2}, {"id": 9, "label_id": 2}]
    for _ in range(2):
        found = tracker.update({"segmentation": first, "segments_info": infos})
        assert ids(found)[:2] == [1, 2]
        assert not found["segments_info"][2]["is_confirmed"]  # has no pixels


def test_a_box_that_does_not_hold_its_segment_is_not_used():
    tracker = Tracker()
    wrong = {"bbox": [3, 0, 2, 1], "area": 3}
    assert ids(tracker.update(result("1110000"))) == [1]
    assert ids(tracker.update(result("1110000", s1=wrong))) == [1]


def test_objects_that_cross_keep_their_identities():
    scene = crossing()
    assert quality(scene, tracked(scene)).id_switches == 0
    assert quality(scene, tracked(scene, settings=TrackerSettings(use_motion=False))).id_switches > 0


def test_an_object_that_passes_behind_another_is_found_again():
    things = [Thing(line(10, 90, 4.0)), Thing(still(120, 100), (20, 70), 5)]
    scene = draw("behind", things, 56)
    assert not any(one["id"] == 1 for one in scene.frames[28].segments)
    found = quality(scene, tracked(scene))
    assert (found.id_switches, found.idf1) == (0, 1)


def test_windows_under_a_moving_camera_are_not_confused():
    scene = pan()
    alone = quality(scene, tracked(scene, settings=TrackerSettings(use_motion=False)))
    found = quality(scene, tracked(scene))
    assert 10 * found.id_switches < alone.id_switches
    assert found.idf1 > 0.9 > alone.idf1 + 0.1


@pytest.mark.parametrize("make", [occlusion, returning])
def test_embeddings_recognise_what_comes_back(make):
    scene = make()
    faults = Faults()
    looks = quality(scene, tracked(scene, faults))
    masks = quality(scene, tracked(scene, Faults(appearance=None)))
    assert looks.aq > masks.aq
    assert looks.idf1 > 0.9


def test_identities_survive_a_failing_light():
    scene = illumination()
    found = quality(scene, tracked(scene, failing_light))
    assert found.id_switches <= 5
    assert found.idf1 > 0.8


def test_every_frame_of_a_faulty_video_has_one_segment_per_track():
    scene = occlusion()
    for found in tracked(scene, Faults(missed=0.2, merged=0.2, flipped=0.3)):
        assert len(set(ids(found))) == len(ids(found))
        assert min(ids(found)) >= 1
        assert all(type(track_id) is int for track_id in ids(found))


def test_frames_without_segments_are_fine():
    tracker = Tracker()
    for text in ("0000", "1100", "0000", "1100"):
        found = tracker.update(result(text))
    assert ids(found) == [1]


def test_one_box_is_not_thought_to_be_another_class_far_away():
    tracker = Tracker()
    assert ids(tracker.update(result("1110000000000"))) == [1]
    assert ids(tracker.update(result("0000000000111", s1={"label_id": BOX}))) == [2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a result is a dictionary with 'segmentation' and 'segments_info'"),
        ({"segmentation": np.zeros((2, 2), int)}, "a result is a dictionary with"),
        ({**result("11"), "segmentation": np.zeros((2, 2, 3), int)}, r"int64 of shape \(2, 2, 3\); give integers"),
        ({**result("11"), "segmentation": np.zeros((2, 2))}, r"float64 of shape \(2, 2\); give integers"),
        (result("11", s1={"label_id": None}), "a segment has label_id None; every entry of segments_info needs"),
        (result("12", s2={"id": 1}), "two segments have the id 1"),
        (result("11", s1={"id": "1"}), "a segment has id '1'"),
    ],
)
def test_results_that_are_wrong(given, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Tracker().update(given)
    assert "\n" not in str(caught.value)


def test_a_frame_of_another_size():
    tracker = Tracker()
    tracker.update(result("1100"))
    with pytest.raises(ConfigError, match=r"this frame is 5x1 pixels and the ones before were 4x1; resize it, or call"):
        tracker.update(result("11000"))
    assert ids(tracker.update(result("1100"))) == [1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("min_iou", 1.5, "min_iou is 1.5; give a number from 0 to 1"),
        ("min_iou", "0.2", "min_iou is '0.2'"),
        ("min_iou", float("nan"), "min_iou is nan"),
        ("confirm_frames", 0, "confirm_frames is 0; give a whole number of at least 1"),
        ("max_lost_frames", 2.5, "max_lost_frames is 2.5; give a whole number of at least 0"),
        ("max_lost_frames", True, "max_lost_frames is True"),
        ("use_motion", 1, "use_motion is 1; give True or False"),
    ],
)
def test_settings_that_are_wrong(name, value, message):
    with pytest.raises(ConfigError, match=message):
        checked_parameter(name, value)


def test_settings_are_checked_when_they_are_made():
    with pytest.raises(ConfigError, match="max_lost_frames is -1"):
        TrackerSettings(max_lost_frames=-1)
