"""The camera's shift, from segmentations whose ids change in every frame."""

import numpy as np
import pytest
from scenes import through_camera

from yoso.tracking.camera import CameraShift


def world(seed=0):
    """A map of rectangles of three classes; the class of a segment is its id modulo 3."""
    rng = np.random.default_rng(seed)
    id_map = np.zeros((400, 500), np.int32)
    for number in range(1, 90):
        top, left = rng.integers(0, 380), rng.integers(0, 480)
        id_map[top : top + rng.integers(15, 60), left : left + rng.integers(15, 60)] = number
    return id_map


def shifts(places, size=(192, 256)):
    camera, found = CameraShift(), []
    labels = {number: number % 3 for number in range(1, 90)}
    for left, top in places:
        found.append(camera.shift(through_camera(world(), (left, top, 1.0), size), labels))
    return np.array(found)


def test_the_first_frame_has_no_shift():
    assert shifts([(50, 60)]).tolist() == [[0, 0]]


@pytest.mark.parametrize("step", [(0, 0), (6, 0), (-9, 6), (15, -12), (40, 30)])
def test_the_content_moves_against_the_camera(step):
    places = [(100 + k * step[0], 80 + k * step[1]) for k in range(3)]
    for x, y in shifts(places)[1:]:
        assert abs(x + step[0]) < 1.5
        assert abs(y + step[1]) < 1.5


def test_frames_without_segments_or_of_one_pixel_do_not_move():
    camera = CameraShift()
    for _ in range(3):
        assert camera.shift(np.zeros((40, 60), np.int32), {}).tolist() == [0, 0]
    camera = CameraShift()
    for _ in range(3):
        assert camera.shift(np.ones((1, 1), np.int32), {1: 0}).tolist() == [0, 0]


def test_what_most_tracks_do_is_the_camera_s():
    camera = CameraShift()
    camera.correct(np.array([[3.0, 0], [3, 1], [3.5, 0], [9, 9]]))
    np.testing.assert_allclose(camera.motion, [3.25, 0], atol=0.6)


@pytest.mark.parametrize("moves", [[[3.0, 0]] * 3, [[3.0, 0], [-3, 0], [9, 1], [0, 7]]], ids=["few", "divided"])
def test_few_or_divided_tracks_do_not_correct_it(moves):
    camera = CameraShift()
    camera.correct(np.array(moves))
    assert camera.motion.tolist() == [0, 0]
