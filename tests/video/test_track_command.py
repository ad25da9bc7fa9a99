"""`yoso track` and `yoso predict VIDEO`: what they write, what they say, and what a user's mistake gets."""

import json

import numpy as np
import pytest

import yoso
from small_clips import HEIGHT, WIDTH, read_clip, write_clip
from yoso.apps.cli import main
from yoso.data.coco_panoptic import read_annotations
from yoso.files import read_id_map
from yoso.video.frames import Selection
from yoso.video.identities import IdentityList
from yoso.video.places import PlaceCounter, parse_line, parse_zone

TIMES = [0, 40, 80, 160, 320, 360]
"""Of a clip with a variable frame rate, in milliseconds."""


@pytest.fixture
def track(tiny_model, tmp_path, capsys):
    """Run a command on a source; return the exit status, standard output and the lines of standard error."""

    def run(source, *words, command="track"):
        options = ["--model", str(tiny_model), "--output", str(tmp_path / "out"), "--object-mask-threshold", "0"]
        status = main([command, str(source), *options, *words])
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return run


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", times=TIMES)


def test_a_video_with_its_timestamps_and_a_summary(track, clip, tmp_path):
    status, out, err = track(clip, "--ids")
    assert (status, err) == (0, [])
    times, size, _ = read_clip(tmp_path / "out" / "clip.overlay.mp4")
    assert times == pytest.approx([time / 1000 for time in TIMES])
    assert size == (WIDTH, HEIGHT)
    for words in ("decode", "network", "track", "draw", "encode", "identity", "first s", "6 frames in"):
        assert words in " ".join(out.split())


def test_ids_are_tracks_and_the_json_has_every_frame(track, clip, tmp_path):
    assert track(clip, "--ids", "--no-overlay", "--smooth")[0] == 0
    folder = tmp_path / "out" / "clip.panoptic"
    content = json.loads(folder.with_suffix(".panoptic.json").read_text())
    assert [image["timestamp"] for image in content["images"]] == pytest.approx([time / 1000 for time in TIMES])
    read_annotations(folder.with_suffix(".panoptic.json"))
    for annotation in content["annotations"]:
        ids = np.unique(read_id_map(folder / annotation["file_name"]))
        assert set(ids.tolist()) - {0} == {segment["id"] for segment in annotation["segments_info"]}
        assert all(segment["track_id"] == segment["id"] for segment in annotation["segments_info"])
    assert not (tmp_path / "out" / "clip.overlay.mp4").exists()


def test_json_lines_are_frames_and_then_the_summary(track, clip):
    status, out, _ = track(clip, "--json", "--no-overlay", "--zone", "all:0,0,1,0,1,1,0,1")
    *frames, last = [json.loads(line) for line in out.splitlines()]
    assert (status, [frame["frame"] for frame in frames]) == (0, list(range(6)))
    assert last["summary"]["frames"] == 6
    known = {identity["track_id"] for identity in last["summary"]["identities"]}
    things = [info for frame in frames for info in frame["segments_info"] if info["is_thing"]]
    assert known <= {info["track_id"] for frame in frames for info in frame["segments_info"]}
    inside = sum(sum(frame["zones"]["all"].values()) for frame in frames)
    assert inside <= len(things)


def test_predict_takes_a_video_without_identities(track, clip, tmp_path):
    status, out, _ = track(clip, "--overlay-format", "jpg", "--every", "2", command="predict")
    assert (status, "identity" in out) == (0, False)
    assert [path.name for path in sorted((tmp_path / "out" / "clip.overlay").iterdir())] == [
        f"{number:06d}.jpg" for number in (0, 2, 4)
    ]


def test_the_audio_is_copied(track, tmp_path):
    import av

    clip = write_clip(tmp_path / "clip.mp4", audio=True)
    assert track(clip)[0] == 0
    with av.open(str(tmp_path / "out" / "clip.overlay.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--zone", "a:0,0,1,1"], "a zone needs at least 3 points, this one has 2"),
        (["--zone", "a:0,0,99,0,99,99"], "the point 99,0 is outside the frame of 64 x 48"),
        (["--line", "a:0,0,1,1", "--zone", "a:0,0,1,0,1,1"], "two zones or lines are called 'a'"),
        (["--start", "99"], "has no frame to read"),
        (["--every", "0"], "every 0: give a whole number from 1"),
        (["--show"], "--show needs a display"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(track, clip, tmp_path, words, reason, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    status, _, (line,) = track(clip, *words)
    assert status == 2
    assert reason in line
    assert not (tmp_path / "out" / "clip.overlay.mp4").exists()


def test_a_source_that_does_not_exist(track):
    assert track("nothing.mp4")[::2] == (2, ["error: nothing.mp4: no such file or folder; check the name"])


def test_the_input_is_never_overwritten(track, tmp_path):
    (tmp_path / "out").mkdir()
    clip = write_clip(tmp_path / "out" / "clip.overlay.mp4")
    before = clip.read_bytes()
    status, _, _ = track(clip, "--overlay-format", "mp4")
    assert clip.read_bytes() == before
    other = tmp_path / "out" / "clip.overlay.overlay.mp4"
    assert (status, other.exists()) == (0, True)


def test_a_truncated_video_leaves_what_was_read(track, tmp_path):
    clip = write_clip(tmp_path / "clip.ts", num_frames=30)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    status, out, _ = track(clip)
    times, _, _ = read_clip(tmp_path / "out" / "clip.overlay.mp4")
    assert status == 0
    assert 0 < len(times) < 30
    assert f"{len(times)} frames in" in " ".join(out.split())


def test_interrupting_leaves_a_playable_video(track, tmp_path, monkeypatch):
    from yoso.inference.predictor import Predictor

    clip, calls = write_clip(tmp_path / "clip.mp4", num_frames=40), []
    plain = Predictor.__call__

    def call(self, *args, **options):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return plain(self, *args, **options)

    monkeypatch.setattr(Predictor, "__call__", call)
    status, _, err = track(clip)
    assert status == 130
    times, _, _ = read_clip(tmp_path / "out" / "clip.overlay.mp4")
    assert 0 < len(times) < 40
    assert err == [f"error: stopped after {len(times)} frames; the outputs hold what was done until then"]


class TestStream:
    def test_frames_come_in_order_with_tracks(self, clip, tiny_model):
        predictor = yoso.load(tiny_model)
        frames = list(yoso.stream(clip, predictor, track=True, object_mask_threshold=0.0))
        assert [frame.index for frame in frames] == list(range(6))
        assert [frame.timestamp for frame in frames] == pytest.approx([time / 1000 for time in TIMES])
        for frame in frames:
            assert frame.image.shape == (HEIGHT, WIDTH, 3)
            assert all(isinstance(info["track_id"], int) for info in frame.result["segments_info"])

    def test_a_break_ends_all_threads(self, tmp_path, tiny_model):
        import threading

        clip, before = write_clip(tmp_path / "clip.mp4", num_frames=60), threading.active_count()
        for frame in yoso.stream(clip, yoso.load(tiny_model), selection=Selection(start=0.2)):
            assert frame.timestamp >= 0.2
            break
        assert threading.active_count() == before


def seen(*boxes, label="car", confirmed=True):
    infos = [
        {"id": i, "label": label, "is_thing": True, "track_id": i, "is_confirmed": confirmed, "bbox": list(box)}
        for i, box in enumerate(boxes, 1)
    ]
    return {"segmentation": np.zeros((100, 100), np.int32), "segments_info": infos}


def test_a_zone_counts_each_object_once_and_a_line_in_its_direction():
    counter = PlaceCounter([parse_zone("left:0,0,50,0,50,100,0,100"), parse_line("middle:0.5,0,0.5,1")])
    for x in (10, 30, 60, 80):
        inside = counter.update(seen((x, 40, 10, 10)))
        assert inside == {"left": {"car": 1} if x < 45 else {}}
    totals = counter.totals()
    assert totals["left"] == {"unique": {"car": 1}}
    assert sorted(map(str, totals["middle"].values())) == ["{'car': 1}", "{}"]


def test_objects_that_the_tracker_does_not_confirm_are_not_counted():
    counter, identities = PlaceCounter([parse_zone("all:0,0,1,0,1,1,0,1")]), IdentityList()
    for result in (seen((1, 1, 5, 5), confirmed=False), seen((1, 1, 5, 5), confirmed=False)):
        counter.update(result)
        identities.update(result, 0.0)
    assert counter.totals() == {"all": {"unique": {}}}
    assert identities.all() == []
    identities.update(seen((1, 1, 5, 5)), 1.0)
    assert [(one.track_id, one.num_frames, one.last_seconds) for one in identities.all()] == [(1, 3, 1.0)]
