import io

import numpy as np
import pytest
from PIL import Image

from small_clips import HEIGHT, WIDTH, picture, write_clip
from yoso.errors import ConfigError, VideoError
from yoso.video.frames import Selection
from yoso.video.sources import SourceOptions, is_video, open_source


def frames_of(source, said=None, stdin=None, raw=None, **selection):
    options = SourceOptions(raw_size=raw, say=(said if said is not None else []).append)
    opened = open_source(source, options, stdin)
    try:
        return list(opened.frames(Selection(**selection))), opened.counts
    finally:
        opened.close()


def times_of(frames):
    return [round(frame.timestamp, 3) for frame in frames]


def test_a_plain_file(tmp_path):
    frames, counts = frames_of(write_clip(tmp_path / "a.mp4"))
    assert [frame.index for frame in frames] == list(range(10))
    assert times_of(frames) == [round(0.04 * n, 3) for n in range(10)]
    assert frames[3].image.shape == (HEIGHT, WIDTH, 3)
    assert abs(frames[3].image[-1, -1].mean() - picture(3)[-1, -1].mean()) < 6
    assert (counts.delivered, counts.corrupt, counts.dropped) == (10, 0, 0)


def test_a_variable_frame_rate_keeps_its_timestamps(tmp_path):
    times = [0, 40, 55, 300, 1000]
    frames, _ = frames_of(write_clip(tmp_path / "a.mp4", times=times))
    assert times_of(frames) == [time / 1000 for time in times]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_is_applied(tmp_path, degrees):
    frames, _ = frames_of(write_clip(tmp_path / "a.mp4", 1, rotation=degrees))
    expected = np.rot90(picture(0), degrees // 90)
    assert frames[0].image.shape == expected.shape
    assert np.abs(frames[0].image.astype(int) - expected).mean() < 12


def test_ten_bits_and_odd_sizes(tmp_path):
    ten, _ = frames_of(write_clip(tmp_path / "a.mp4", 2, pix_fmt="yuv420p10le"))
    assert (ten[0].image.dtype, ten[0].image.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
    odd, _ = frames_of(write_clip(tmp_path / "b.mp4", 2, pix_fmt="yuv444p", size=(33, 27)))
    assert odd[0].image.shape == (27, 33, 3)


def test_no_duration_in_the_header(tmp_path):
    path = write_clip(tmp_path / "a.h264", format="h264")
    frames, _ = frames_of(path)
    assert len(frames) == 10
    assert times_of(frames) == sorted(set(times_of(frames)))


def test_a_truncated_end_is_reported_and_the_start_is_read(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 100, container={"movflags": "+faststart"}, size=(160, 120))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    said = []
    frames, _ = frames_of(path, said)
    assert 10 < len(frames) < 100
    assert len(said) == 1
    assert "it is incomplete" in said[0]


def test_a_corrupt_frame_is_skipped_and_counted(tmp_path):
    path = write_clip(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    starts = [n for n in range(len(content) - 1) if content[n : n + 3] == b"\xff\xd8\xff"]
    content[starts[4] : starts[5] - 8] = bytes(starts[5] - 8 - starts[4])
    path.write_bytes(content)
    frames, counts = frames_of(path)
    assert (len(frames), counts.corrupt) == (9, 1)
    assert round(frames[4].timestamp, 2) == 0.2


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"start": 0.1}, [0.12, 0.16, 0.2, 0.24, 0.28, 0.32, 0.36]),
        ({"end": 0.1}, [0.0, 0.04, 0.08]),
        ({"every": 4}, [0.0, 0.16, 0.32]),
        ({"fps": 10}, [0.0, 0.12, 0.2, 0.32]),
        ({"max_frames": 2}, [0.0, 0.04]),
        ({"start": 0.2, "every": 2, "max_frames": 2}, [0.2, 0.28]),
    ],
)
def test_selections(tmp_path, selection, expected):
    frames, _ = frames_of(write_clip(tmp_path / "a.mp4"), **selection)
    assert times_of(frames) == expected


def test_a_late_start_is_sought(tmp_path):
    frames, _ = frames_of(write_clip(tmp_path / "a.mp4", 200), start=6.0)
    assert times_of(frames)[0] == 6.0
    assert len(frames) == 50


@pytest.mark.parametrize(
    "selection",
    [{"start": -1}, {"end": float("nan")}, {"every": 0}, {"fps": 0}, {"max_frames": 0}, {"start": 2, "end": 1}],
)
def test_a_bad_selection(selection):
    with pytest.raises(ConfigError, match=r"give|later"):
        Selection(**selection)


@pytest.mark.parametrize("pattern", ["", "/*.png", "/f%d.png"])
def test_numbered_images_come_in_the_order_of_their_numbers(tmp_path, pattern):
    for number in (1, 2, 10):
        Image.fromarray(picture(number)).save(tmp_path / f"f{number}.png")
    (tmp_path / "f3.png").write_bytes(b"no image")
    frames, counts = frames_of(f"{tmp_path}{pattern}")
    assert [frame.image[-1, -1, 0] for frame in frames] == [30, 40, 120]
    assert times_of(frames) == [0.0, 0.04, 0.12]
    assert counts.corrupt == 1


def test_jpeg_images_on_standard_input(tmp_path):
    stream = io.BytesIO()
    for number in range(3):
        Image.fromarray(picture(number)).save(stream, format="JPEG")
    frames, _ = frames_of("-", stdin=io.BufferedReader(io.BytesIO(stream.getvalue())))
    assert len(frames) == 3
    assert frames[2].image.shape == (HEIGHT, WIDTH, 3)


def test_raw_frames_on_standard_input():
    content = b"".join(picture(number).tobytes() for number in range(3))
    frames, _ = frames_of("-", stdin=io.BytesIO(content), raw=(WIDTH, HEIGHT))
    assert [np.array_equal(frame.image, picture(n)) for n, frame in enumerate(frames)] == [True] * 3


def test_a_size_that_changes(tmp_path):
    for number, size in enumerate([(64, 48), (64, 48), (32, 24)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match="frame 2 is 32 x 24, those before it are 64 x 48"):
        frames_of(str(tmp_path))


def test_sources_that_hold_nothing(tmp_path):
    with pytest.raises(VideoError, match=r"a\.mp4: no such file or folder; check the name"):
        open_source(tmp_path / "a.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: cannot be read as video"):
        open_source(tmp_path / "text.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="holds no image"):
        open_source(tmp_path / "empty")
    with pytest.raises(VideoError, match="camera 77: cannot be opened"):
        open_source(77)
    with pytest.raises(VideoError, match="has no frame to read"):
        frames_of(write_clip(tmp_path / "b.mp4"), start=3.0)


def test_a_file_without_video(tmp_path):
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    with pytest.raises(VideoError, match="holds no video"):
        open_source(tmp_path / "a.wav")


def test_what_is_a_video(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(is_video(name) for name in ("a.mp4", "A.MOV", "rtsp://host/x", "https://host/x.jpg", "0"))
    (tmp_path / "1").mkdir()
    assert not any(is_video(name) for name in ("a.jpg", "1", "folder", "*.png", "-"))
