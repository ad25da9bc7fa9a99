"""VPQ, STQ, identity switches and IDF1: hand-made videos, then the plain definitions on anything hypothesis draws."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings

from panoptic_pairs import CATEGORIES, random_pair
from video_tubes import CAR, PERSON, SKY, frame, plain_aq, plain_identities, plain_sq, plain_vpq, stuff, thing, videos
from yoso.errors import ConfigError, DatasetError
from yoso.evaluation.matching import count_matches
from yoso.evaluation.quality import panoptic_quality
from yoso.evaluation.tubes import TubeFrame
from yoso.evaluation.video_quality import VideoCounts, count_video, video_quality


def scores(gt, pred, windows=(1, 2)):
    return video_quality(count_video(gt, pred, CATEGORIES, windows), CATEGORIES)


def same(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


TWO = [thing(1, 11), thing(2, 12)]
STILL = [frame("1122", *TWO)] * 4


def tracked(*texts):
    """A prediction whose segment ids are its track ids."""
    return [frame(text, *(thing(number, number) for number in range(1, 10))) for text in texts]


def test_a_perfect_prediction():
    quality = scores(STILL, tracked("3344", "3344", "3344", "3344"))
    assert quality[:3] == pytest.approx((1, 1, np.nan), nan_ok=True)
    assert (quality.stq, quality.aq, quality.sq, quality.idf1) == (1, 1, 1, 1)
    assert (quality.id_switches, quality.num_tracks, quality.num_frames) == (0, 2, 4)


def test_segment_ids_may_differ_from_frame_to_frame():
    gt = [frame("1122", thing(1, 11), thing(2, 12)), frame("7755", thing(7, 11), thing(5, 12))]
    pred = [frame("3344", thing(3, 3), thing(4, 4)), frame("4433", thing(4, 3), thing(3, 4))]
    assert scores(gt, pred).vpq == scores(gt, pred).stq == 1


def test_a_swap_of_identities():
    quality = scores(STILL, tracked("3344", "3344", "4433", "4433"), (1, 2, 4))
    assert quality.windows[1].all.pq == 1
    assert quality.windows[2].all.pq == pytest.approx(2 / 3)  # two of three windows are perfect, one is all wrong
    assert quality.windows[4].all.pq == 0
    assert quality.vpq == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert quality.id_switches == 2
    assert quality.idf1 == 0.5
    assert quality.sq == 1
    assert quality.aq == pytest.approx(1 / 3)  # each half of a track shares 4 pixels of 12 with either prediction


def test_a_switch_after_a_gap_counts_and_a_return_of_the_same_track_does_not():
    assert scores(STILL, tracked("3344", "0044", "3344", "3344")).id_switches == 0
    assert scores(STILL, tracked("3344", "0044", "5544", "5544")).id_switches == 1


def test_stuff_is_one_tube_per_class_whatever_its_ids():
    gt = [frame("1122", stuff(1), stuff(2))] * 2
    pred = [frame("3333", {**stuff(3), "track_id": 5}), frame("4444", {**stuff(4), "track_id": 6})]
    assert scores(gt, pred).windows[2].stuff.pq == 1
    assert np.isnan(scores(gt, pred).aq)
    assert np.isnan(scores(gt, pred).idf1)


def test_a_track_that_changes_its_class_is_two_tubes_but_one_identity():
    pred = [frame("3344", thing(3, 3), thing(4, 4)), frame("3344", thing(3, 3, CAR), thing(4, 4))]
    quality = scores(STILL[:2], pred)
    assert quality.windows[2].per_class[0].true_positive == 1
    assert quality.windows[2].per_class[0].false_positive == 1
    assert quality.windows[2].per_class[2].false_positive == 1
    assert quality.aq == 1
    assert quality.sq < 1


def test_void_and_crowds_are_no_mistakes():
    gt = [frame("1100", thing(1, 11)), frame("1122", thing(1, 11), thing(2, 12, iscrowd=1))]
    quality = scores(gt, tracked("3344", "3344"))
    assert quality.vpq == quality.idf1 == 1
    assert quality.num_tracks == 1


def test_a_crowd_needs_no_track_id():
    gt = [frame("1122", thing(1, 11), {"id": 2, "category_id": PERSON, "iscrowd": 1})]
    assert scores(gt, tracked("3344"), [1]).vpq == 1


def test_windows_longer_than_the_video_do_not_count():
    quality = scores(STILL, tracked("3344", "3344", "3344", "3344"), (1, 5))
    assert np.isnan(quality.windows[5].all.pq)
    assert quality.vpq == 1


def test_a_video_without_frames_has_no_scores():
    quality = scores([], [])
    assert np.isnan([quality.vpq, quality.stq, quality.aq, quality.sq, quality.idf1]).all()
    assert (quality.id_switches, quality.num_frames) == (0, 0)


def test_counts_of_videos_add_up():
    swapped = count_video(STILL, tracked("3344", "3344", "4433", "4433"), CATEGORIES, [2])
    perfect = count_video(STILL, tracked("3344", "3344", "3344", "3344"), CATEGORIES, [2])
    total = video_quality(sum([swapped, perfect], VideoCounts.zeros(len(CATEGORIES), [2])), CATEGORIES)
    assert total.windows[2].all.pq == pytest.approx(5 / 6)
    assert total.aq == pytest.approx((1 / 3 + 1) / 2)
    assert total.idf1 == 0.75
    assert (total.id_switches, total.num_tracks, total.num_frames) == (2, 4, 8)
    with pytest.raises(ConfigError, match="different windows"):
        swapped + VideoCounts.zeros(len(CATEGORIES))


@given(videos())
@settings(deadline=None, max_examples=60)
def test_vpq_equals_its_definition(video):
    quality = scores(*video, windows=(1, 2, 3))
    for length, result in quality.windows.items():
        same(result.all.pq, plain_vpq(*video, length))


@given(videos())
@settings(deadline=None, max_examples=60)
def test_stq_equals_its_definition(video):
    quality = scores(*video)
    same(quality.aq, plain_aq(*video))
    same(quality.sq, plain_sq(*video))
    same(quality.stq, np.sqrt(plain_aq(*video) * plain_sq(*video)))


@given(videos())
@settings(deadline=None, max_examples=40)
def test_identities_equal_their_definitions(video):
    quality = scores(*video)
    same((quality.id_switches, quality.idf1), plain_identities(*video))


@given(videos())
@settings(deadline=None, max_examples=30)
def test_every_figure_is_between_0_and_1_and_truth_against_itself_is_perfect(video):
    gt, _ = video
    quality = scores(*video)
    for figure in (quality.vpq, quality.stq, quality.aq, quality.sq, quality.idf1):
        assert np.isnan(figure) or 0 <= figure <= 1
    listed = all(set(np.unique(id_map)) <= {0, *(one["id"] for one in segments)} for id_map, segments in gt)
    if listed and not any(segment["iscrowd"] for one in gt for segment in one.segments):
        perfect = scores(gt, gt)
        assert perfect.id_switches == 0
        assert {perfect.vpq, perfect.stq, perfect.idf1} <= {1.0} or np.isnan(perfect.aq)


def test_a_window_of_one_frame_is_panoptic_quality():
    gt_map, gt_segments, pred_map, pred_segments = random_pair(np.random.default_rng(3))
    things = [segment for segment in gt_segments if segment["category_id"] in (PERSON, CAR)]
    assert things
    gt = TubeFrame(gt_map, [{**one, "track_id": one["id"]} for one in _one_per_stuff(gt_map, gt_segments)])
    pred = TubeFrame(pred_map, [{**one, "track_id": one["id"]} for one in _one_per_stuff(pred_map, pred_segments)])
    result = scores([gt], [pred], [1]).windows[1]
    counts = count_matches(gt.id_map, gt.segments, pred.id_map, pred.segments, CATEGORIES)
    assert result == panoptic_quality(counts, CATEGORIES)
    assert result.all.pq > 0


def _one_per_stuff(id_map, segments):
    """Merge the stuff segments of a class, in the map too, as panoptic results have them."""
    first = {}
    for segment in segments:
        if segment["category_id"] not in (PERSON, CAR):
            id_map[id_map == segment["id"]] = first.setdefault(segment["category_id"], segment)["id"]
    return [one for one in segments if first.get(one["category_id"], one) is one]


def test_a_long_video_is_not_held_in_memory():
    maps, most = [], 0

    def frames():
        nonlocal most
        for _ in range(40):
            one = frame("1122", *TWO)
            maps.append(weakref.ref(one.id_map))
            most = max(most, sum(each() is not None for each in maps))
            yield one

    assert count_video(frames(), frames(), CATEGORIES, [1, 15]).num_frames == 40
    assert 2 <= most <= 6


@pytest.mark.parametrize(
    ("gt", "pred", "message"),
    [
        (STILL, tracked("3344"), "video: the prediction ends after 1 frames; give as many"),
        (STILL[:1], tracked("3344", "3344"), "video: the ground truth ends after 1 frames"),
        (
            [STILL[0], frame("11222", *TWO)],
            tracked("3344", "33444"),
            "video, frame 1: is 5x1 pixels, but the frames before are 4x1; a video has one size",
        ),
        (STILL[:1], tracked("334"), "video, frame 0: the prediction is 3x1 pixels but the ground truth is 4x1"),
        (STILL[:1], [frame("3344", thing(3, 3))], "frame 0: the prediction's id map has id 4 not in"),
        (STILL[:1], [frame("3344", thing(3, 3), thing(4, 3))], "frame 0: prediction: two segments have the track_id 3"),
        (
            STILL[:1],
            [frame("3333", {"id": 3, "category_id": PERSON})],
            "prediction: segment 3 has track_id None; every thing needs a whole number",
        ),
        (STILL[:1], [frame("3333", thing(3, "a"))], "segment 3 has track_id 'a'"),
        (STILL[:1], [frame("3333", thing(3, 1.5))], "segment 3 has track_id 1.5"),
        (
            [STILL[0], frame("1122", thing(1, 11, CAR), thing(2, 12))],
            tracked("3344", "3344"),
            "frame 1: ground truth: track_id 11 is 'person' in an earlier segment and 'car' here",
        ),
        ([frame("1111", thing(1, 11, 5))], tracked("3333"), "ground truth: segment 1: unknown category_id 5"),
    ],
)
def test_faults_are_named(gt, pred, message):
    with pytest.raises(DatasetError, match=message) as caught:
        count_video(gt, pred, CATEGORIES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("windows", [[], [0], [1, -2]])
def test_windows_must_have_frames(windows):
    with pytest.raises(ConfigError, match=r"windows are .*; give at least one"):
        count_video(STILL, STILL, CATEGORIES, windows)


def test_stuff_alone_needs_no_track_id():
    gt = [frame("1111", stuff(1))]
    assert scores(gt, [frame("3330", stuff(3, SKY))], [1]).sq == 0.75
