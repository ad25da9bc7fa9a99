"""Saved video predictions against saved ground truth: the scores of arrays, and every way files can be wrong."""

import numpy as np
import pytest

from panoptic_pairs import CATEGORIES, edit_json
from video_tubes import SKY, frame, stuff, thing
from yoso.errors import DatasetError
from yoso.evaluation.video_folders import count_videos
from yoso.evaluation.video_quality import count_video, video_quality
from yoso.files import write_id_map, write_json

GT = [frame("11223", thing(1, 11), thing(2, 12), stuff(3)), frame("22113", thing(2, 11), thing(1, 12), stuff(3))]
PRED = [frame("11223", thing(1, 7), thing(2, 8), stuff(3)), frame("11223", thing(1, 8), thing(2, 7), stuff(3))]


def write_video(folder, name, videos):
    """Write videos by id; a video without an id (None) has no `video_id` in the file."""
    entries = []
    for video_id, frames in videos.items():
        for number, (id_map, segments) in enumerate(frames):
            file_name = f"{video_id}_{number}.png"
            write_id_map(folder / name / file_name, id_map)
            entry = {"image_id": f"{video_id}/{number}", "file_name": file_name, "segments_info": segments}
            entries.append(entry if video_id is None else {**entry, "video_id": video_id})
    path = folder / f"{name}.json"
    write_json(path, {"annotations": entries, "categories": CATEGORIES.to_json()})
    return path, folder / name


@pytest.fixture
def saved(tmp_path):
    """One video of two frames, both sides written; (gt JSON, gt folder, pred JSON, pred folder)."""
    return *write_video(tmp_path, "gt", {None: GT}), *write_video(tmp_path, "pred", {None: PRED})


def test_files_give_the_scores_of_arrays(saved):
    counts = count_videos(*saved, windows=(1, 2))
    assert list(counts.videos) == ["video"]
    expected = video_quality(count_video(GT, PRED, CATEGORIES, (1, 2)), CATEGORIES)
    np.testing.assert_equal(counts.result(), expected)
    assert 0 < expected.vpq < 1
    assert expected.id_switches == 2


def test_videos_are_counted_apart_and_added_up(tmp_path):
    gt = write_video(tmp_path, "gt", {"b": GT, 5: GT})
    pred = write_video(tmp_path, "pred", {"b": PRED, 5: GT})
    counts = count_videos(*gt, *pred, windows=(2,))
    assert list(counts.videos) == ["b", 5]
    assert [video.identities.switches for video in counts.videos.values()] == [2, 0]
    assert counts.result().num_frames == 4
    assert counts.result().num_tracks == 4


def test_the_order_is_that_of_the_ground_truth(saved):
    expected = count_videos(*saved, windows=(2,)).result()
    edit_json(saved[2], lambda content: content["annotations"].reverse())
    np.testing.assert_equal(count_videos(*saved, windows=(2,)).result(), expected)


def test_a_frame_without_a_prediction_is_all_missed(saved):
    edit_json(saved[2], lambda content: content["annotations"].pop())
    with pytest.warns(UserWarning, match=r"no prediction for 1 of 2 frames .*'None/1'\); all of their segments are"):
        quality = count_videos(*saved, windows=(1,)).result()
    empty = frame("00000")
    expected = video_quality(count_video(GT, [PRED[0], empty], CATEGORIES, (1,)), CATEGORIES)
    np.testing.assert_equal(quality, expected)
    assert quality.windows[1].per_class[0].false_negative == 2


def test_predictions_for_other_frames_are_left_out(saved):
    expected = count_videos(*saved).result()
    extra = {"image_id": 99, "file_name": "x.png", "segments_info": []}
    edit_json(saved[2], lambda content: content["annotations"].append(extra))
    with pytest.warns(UserWarning, match=r"1 of 3 predictions left out, .* \(the first is 99\)"):
        np.testing.assert_equal(count_videos(*saved).result(), expected)


def change(key, value):
    """Return an edit of the first annotation."""
    return lambda content: content["annotations"][0].update({key: value})


@pytest.mark.parametrize(
    ("place", "edit", "message"),
    [
        (0, lambda content: content.update(annotations={}), "gt.json: is not a COCO panoptic file; it needs a list"),
        (0, lambda content: content.update(annotations=[]), "'annotations' is empty; there is nothing to compare"),
        (0, lambda content: content.pop("categories"), "gt.json: 'categories' must be a list"),
        (2, change("image_id", None), "pred.json: annotation number 0 has no usable 'image_id'; every frame needs"),
        (2, change("file_name", 3), "annotation number 0 has no usable 'file_name'"),
        (2, change("segments_info", [3]), "annotation number 0 has no usable 'segments_info'"),
        (0, change("video_id", [3]), "gt.json: annotation number 0 has no usable 'video_id'"),
        (2, lambda content: content["annotations"].insert(0, 3), "annotation number 0 has no usable 'image_id'"),
        (2, change("image_id", "None/1"), "pred.json: image_id 'None/1' is annotated twice; keep one entry per frame"),
        (
            2,
            lambda content: [e.update(image_id=k) for k, e in enumerate(content["annotations"])],
            "none of its 2 image",
        ),
        (
            0,
            change("segments_info", [{"id": 1, "category_id": 7}]),
            "gt.json, video 'video', frame 0: ground truth: segment 1 has track_id None",
        ),
        (2, change("segments_info", [thing(1, 7)]), "frame 0: the prediction's id map has ids 2, 3 not in"),
        (2, change("file_name", "none.png"), "none.png: no such file"),
    ],
)
def test_faults_are_named(saved, place, edit, message):
    edit_json(saved[place], edit)
    with pytest.raises(DatasetError, match=message) as caught:
        count_videos(*saved)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_missing(saved, tmp_path):
    with pytest.raises(DatasetError, match="nowhere: no such folder; it should hold the PNGs of"):
        count_videos(saved[0], tmp_path / "nowhere", *saved[2:])


def test_stuff_needs_no_track_id_in_files(saved):
    quality = count_videos(*saved, windows=(2,)).result()
    sky = CATEGORIES.index_of(SKY)
    assert quality.windows[2].per_class[sky].pq == 1
