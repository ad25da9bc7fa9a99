"""Smoothing: near-ties go to the previous owner, what moves further moves at once, and what is said stays true."""

import numpy as np
import pytest
from scenes import Faults, as_frame, crossing, occlusion, predictions

from yoso.errors import ConfigError
from yoso.evaluation.flicker import flicker
from yoso.evaluation.video_quality import count_video, video_quality
from yoso.tracking.smoothing import Smoother
from yoso.tracking.tracker import Tracker


def result(*rows, **of_segments):
    """A frame, one digit per pixel; segments are stuff whose track ids are their ids plus 10."""
    id_map = np.array([[int(digit) for digit in row] for row in rows], np.int32)
    infos = [
        {"id": i, "label_id": i, "is_thing": False, "track_id": 10 + i, **of_segments.get(f"s{i}", {})}
        for i in np.unique(id_map).tolist()
        if i
    ]
    return {"segmentation": id_map, "segments_info": infos}


def smoothed(*results, radius=1):
    smoother = Smoother(radius)
    return [smoother.update(one) for one in results]


def rows(result):
    return ["".join(map(str, row)) for row in result["segmentation"].tolist()]


def test_a_boundary_that_wavers_by_a_pixel_stays():
    found = smoothed(result("111222"), result("112222"), result("111222"), result("111122"))
    assert [rows(one) for one in found] == [["111222"]] * 4


def test_a_boundary_that_moves_further_moves_at_once_and_is_never_far_off():
    found = smoothed(result("11111222"), result("11222222"), result("12222222"))
    assert [rows(one) for one in found] == [["11111222"], ["11122222"], ["11222222"]]
    wide = smoothed(result("11111222"), result("11222222"), radius=2)
    assert rows(wide[1]) == ["11112222"]


def test_void_has_no_claim_on_a_pixel():
    assert rows(smoothed(result("110022"), result("111222"))[1]) == ["111222"]


def test_ids_may_differ_from_frame_to_frame():
    before, now = result("111222", s1={"track_id": 5}), result("334444", s3={"track_id": 5}, s4={"track_id": 12})
    assert rows(smoothed(before, now)[1]) == ["333444"]


def test_areas_and_boxes_are_those_of_the_smoothed_map():
    facts = {"area": 0, "bbox": [0, 0, 0, 0]}
    (_, found) = smoothed(result("1112", "1112"), result("1122", "1122", s1=facts, s2=facts))
    assert rows(found) == ["1112", "1112"]
    assert [(info["area"], info["bbox"]) for info in found["segments_info"]] == [(6, [0, 0, 3, 2]), (2, [3, 0, 1, 2])]


def test_a_segment_without_pixels_is_left_out():
    (_, found) = smoothed(result("1111"), result("1131"))
    assert rows(found) == ["1111"]
    assert [info["id"] for info in found["segments_info"]] == [1]


def test_the_given_result_is_not_changed():
    first, second = result("111222"), result("112222")
    smoothed(first, second)
    assert rows(second) == ["112222"]


def test_previous_owners_move_along_with_their_objects():
    things = {"is_thing": True}
    block = [["0" * (3 + step) + "1111" + "2" * (9 - step)] * 4 for step in (0, 3)]
    first, second = (result(*frame, s1=things) for frame in block)
    assert rows(smoothed(first, second)[1]) == block[1]


def test_a_frame_of_another_size_begins_anew():
    found = smoothed(result("1122"), result("11122"), result("11222"))
    assert [rows(one) for one in found] == [["1122"], ["11122"], ["11122"]]


def test_reset_forgets_the_previous_frame():
    smoother = Smoother()
    smoother.update(result("1112"))
    smoother.reset()
    assert rows(smoother.update(result("1122"))) == ["1122"]


def test_large_ids_are_fine():
    big = 1 << 24

    def frame(text):
        one = result(text)
        infos = [{**info, "id": info["id"] * big, "track_id": info["id"]} for info in one["segments_info"]]
        return {"segmentation": one["segmentation"].astype(np.int64) * big, "segments_info": infos}

    found = smoothed(frame("111222"), frame("112222"))
    assert (found[1]["segmentation"] == found[0]["segmentation"]).all()


def track_maps(results):
    for one in results:
        table = {info["id"]: info["track_id"] for info in one["segments_info"]}
        yield np.vectorize(lambda i, table=table: table.get(i, 0))(one["segmentation"])


@pytest.mark.parametrize("make", [crossing, occlusion])
def test_smoothing_lowers_flicker_by_a_quarter_and_costs_little(make):
    scene, tracker = make(), Tracker()
    plain = [tracker.update(one) for one in predictions(scene, Faults(0, 0, 0, 1.0, None), 0)]
    smooth = smoothed(*plain)
    assert flicker(track_maps(smooth)) < 0.75 * flicker(track_maps(plain))
    plain_vpq, smooth_vpq = (
        video_quality(
            count_video(scene.frames, [as_frame(one, scene.categories) for one in results], scene.categories),
            scene.categories,
        ).vpq
        for results in (plain, smooth)
    )
    assert smooth_vpq > plain_vpq - 0.02
    for one in smooth:
        for info in one["segments_info"]:
            assert info["area"] == (one["segmentation"] == info["id"]).sum() > 0


def test_what_is_wrong_is_said():
    with pytest.raises(ConfigError, match="radius is 0; give at least 1 pixel"):
        Smoother(0)
    given = result("11")
    del given["segments_info"][0]["track_id"]
    with pytest.raises(ConfigError, match=r"a segment has no track_id; give the result to Tracker\.update first"):
        Smoother().update(given)
