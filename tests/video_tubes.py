"""Made-up videos of a few pixels, and the video scores written as their definitions read: pixel by pixel, and slow."""

from itertools import permutations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from panoptic_pairs import CATEGORIES
from yoso.evaluation.tubes import TubeFrame

PERSON, SKY, CAR, ROAD = 7, 2, 90, 91


def thing(segment_id, track_id, category_id=PERSON, **more):
    return {"id": segment_id, "category_id": category_id, "track_id": track_id, **more}


def stuff(segment_id, category_id=SKY):
    return {"id": segment_id, "category_id": category_id}


def frame(text, *segments):
    """A frame of one row, one digit per pixel; only the segments that have a pixel are listed."""
    row = np.array([[int(digit) for digit in text]])
    return TubeFrame(row, [segment for segment in segments if segment["id"] in row])


@st.composite
def videos(draw):
    """Draw a ground truth and a prediction: void, crowds, unlisted ids, class changes, ids that differ per frame."""
    num_frames, shape = draw(st.integers(1, 4)), draw(st.tuples(st.integers(1, 2), st.integers(1, 6)))
    maps = hnp.arrays(np.int64, (num_frames, *shape), elements=st.integers(0, 5))
    gt, other = draw(maps), draw(maps)
    keep = draw(hnp.arrays(np.bool_, (num_frames, *shape), elements=st.booleans() | st.just(True)))
    pred = np.where(keep, gt, other)
    classes = draw(st.lists(st.sampled_from([PERSON, CAR, SKY, ROAD]), min_size=5, max_size=5))
    crowds = draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=5, max_size=5))
    unlisted = draw(st.sampled_from([0, 0, 0, 5]))
    return (
        [_drawn_frame(draw, id_map, classes, crowds, unlisted) for id_map in gt],
        [_drawn_frame(draw, id_map, _some_changed(draw, classes), None, 0) for id_map in pred],
    )


def _some_changed(draw, classes):
    return [draw(st.sampled_from([own, own, own, PERSON])) for own in classes]


def _drawn_frame(draw, id_map, classes, crowds, unlisted):
    """Give the segments of a frame ids and, in a prediction, sometimes another track."""
    ids = draw(st.lists(st.integers(1, 90), min_size=5, max_size=5, unique=True))
    tracks = list(range(11, 16)) if crowds else draw(st.permutations(range(11, 16)) | st.just(range(11, 16)))
    segments = []
    for index in range(5):
        if index + 1 in id_map and index + 1 != unlisted:
            segment = {"id": ids[index], "category_id": classes[index], "track_id": tracks[index]}
            segments.append({**segment, "iscrowd": crowds[index]} if crowds else segment)
    return TubeFrame(np.array([0, *ids], np.int32)[id_map], segments)


def is_thing(segment):
    return segment["category_id"] in {PERSON, CAR}


def tube_of(segment):
    """Class, track and whether it is a crowd; stuff has no track."""
    return segment["category_id"], segment["track_id"] if is_thing(segment) else None, segment.get("iscrowd", 0)


def pixels_of(frames):
    """Per pixel of a video, in one order: the segment, "void", or "unlisted"."""
    owners = []
    for id_map, segments in frames:
        by_id = {segment["id"]: segment for segment in segments}
        owners += ["void" if i == 0 else by_id.get(i, "unlisted") for i in id_map.reshape(-1).tolist()]
    return owners


def plain_window(gt_frames, pred_frames, category_id):
    """IoU sum, TP, FP and FN of one class in one window, from sets of pixels."""
    gt_pixels, pred_pixels = pixels_of(gt_frames), pixels_of(pred_frames)
    void = {place for place, owner in enumerate(gt_pixels) if owner == "void"}
    gt_tubes, pred_tubes = {}, {}
    for tubes, frames, owners in ((gt_tubes, gt_frames, gt_pixels), (pred_tubes, pred_frames, pred_pixels)):
        for one in frames:
            for segment in one.segments:
                tubes.setdefault(tube_of(segment), set())
        for place, owner in enumerate(owners):
            if isinstance(owner, dict):
                tubes[tube_of(owner)].add(place)
    gt_tubes = {tube: places for tube, places in gt_tubes.items() if tube[0] == category_id}
    pred_tubes = {tube: places for tube, places in pred_tubes.items() if tube[0] == category_id}
    crowds = [places for tube, places in gt_tubes.items() if tube[2]]
    ignored = void | (crowds[-1] if crowds else set())
    iou_sum, gt_matched, pred_matched = 0.0, set(), set()
    for gt_tube, true in gt_tubes.items():
        for pred_tube, predicted in pred_tubes.items():
            union = len(true | predicted) - len(predicted & void)
            if not gt_tube[2] and len(true & predicted) > union / 2:
                iou_sum += len(true & predicted) / union
                gt_matched.add(gt_tube)
                pred_matched.add(pred_tube)
    missed = sum(not tube[2] and tube not in gt_matched for tube in gt_tubes)
    made_up = sum(
        tube not in pred_matched and len(places & ignored) <= len(places) / 2 for tube, places in pred_tubes.items()
    )
    return np.array([iou_sum, len(gt_matched), made_up, missed])


def plain_vpq(gt_frames, pred_frames, length):
    """VPQ over all classes for windows of one length; nan if no class occurs."""
    figures = []
    for category in CATEGORIES:
        counts = np.zeros(4)
        for start in range(len(gt_frames) - length + 1):
            window = slice(start, start + length)
            counts += plain_window(gt_frames[window], pred_frames[window], category.id)
        if counts[1:].any():
            figures.append(counts[0] / (counts[1] + counts[2] / 2 + counts[3] / 2))
    return np.mean(figures) if figures else np.nan


def plain_aq(gt_frames, pred_frames):
    """Association quality, track by track; nan without a true thing."""
    true, predicted = {}, {}
    for place, (gt, pred) in enumerate(zip(pixels_of(gt_frames), pixels_of(pred_frames), strict=True)):
        gt_thing = isinstance(gt, dict) and is_thing(gt)
        on_crowd = gt_thing and gt["iscrowd"]
        if gt_thing and not on_crowd:
            true.setdefault(gt["track_id"], set()).add(place)
        if isinstance(pred, dict) and is_thing(pred) and not on_crowd:
            predicted.setdefault(pred["track_id"], set()).add(place)
    qualities = [sum(len(g & p) * len(g & p) / len(g | p) for p in predicted.values()) / len(g) for g in true.values()]
    return np.mean(qualities) if qualities else np.nan


def plain_sq(gt_frames, pred_frames):
    """Mean IoU of the classes, true void and unlisted pixels left out; nan if no class occurs."""
    owners = [
        (gt["category_id"], pred["category_id"] if isinstance(pred, dict) else None)
        for gt, pred in zip(pixels_of(gt_frames), pixels_of(pred_frames), strict=True)
        if isinstance(gt, dict)
    ]
    figures = []
    for category in CATEGORIES:
        union = sum(category.id in pair for pair in owners)
        if union:
            figures.append(owners.count((category.id, category.id)) / union)
    return np.mean(figures) if figures else np.nan


def plain_identities(gt_frames, pred_frames):
    """Identity switches and IDF1: every way to pair tracks is tried."""
    switches, total, last, matches = 0, 0, {}, {}
    for gt, pred in zip(gt_frames, pred_frames, strict=True):
        for category_id in (PERSON, CAR):
            _, true_positive, made_up, missed = plain_window([gt], [pred], category_id)
            total += 2 * true_positive + made_up + missed
        for true in gt.segments:
            for predicted in pred.segments:
                if is_thing(true) and _match(gt, true, pred, predicted):
                    track, other = true["track_id"], predicted["track_id"]
                    switches += last.get(track, other) != other
                    last[track] = other
                    matches[track, other] = matches.get((track, other), 0) + 1
    # Tracks are numbered from 11 to 15 on both sides, so that a permutation is a pairing.
    best = max(
        sum(matches.get((g, p), 0) for g, p in zip(range(11, 16), order, strict=True))
        for order in permutations(range(11, 16))
    )
    return switches, 2 * best / total if total else np.nan


def _match(gt, true, pred, predicted):
    if true.get("iscrowd") or true["category_id"] != predicted["category_id"]:
        return False
    true_mask, predicted_mask = gt.id_map == true["id"], pred.id_map == predicted["id"]
    union = (true_mask | predicted_mask).sum() - (predicted_mask & (gt.id_map == 0)).sum()
    return (true_mask & predicted_mask).sum() > union / 2
