"""Measures tracking: the scores of videos whose truth is known, part by part, and milliseconds per frame.

    python benchmarks/tracking.py quality [--data FOLDER] [--json FILE]
    python benchmarks/tracking.py speed [--json FILE]

Output: benchmarks/results/tracking_quality.json, benchmarks/results/tracking_speed.json; exit status 1 if tracking a
frame takes more than 3 ms

Each video is scored without tracking, where every thing of every frame has an identity of its own, then with the IoU of
masks alone, with motion (of the tracks and of the camera), and with embeddings. Smoothing follows the best of these.

- drawn: scenes of `tests/tracking/scenes.py`, the truth with the faults of a network; embeddings are drawn too.
- views: a camera that pans or zooms over the ground truth of real images, with the same faults.
- network: a camera that pans or zooms over real photographs, segmented by the bundled model, whose kernels are the
  embeddings. Real images need --data, the test data folder.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoso.categories import Categories
from yoso.evaluation.flicker import flicker
from yoso.evaluation.video_quality import count_video, video_quality
from yoso.files import read_id_map, read_image, read_json, write_json
from yoso.inference.loading import load
from yoso.provenance import provenance
from yoso.speed.protocol import LatencySummary, timer
from yoso.tracking.smoothing import Smoother
from yoso.tracking.tracker import Tracker, TrackerSettings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "tests" / "tracking"))
import scenes  # noqa: E402 - the tests' own

CPU = torch.device("cpu")
TARGET_MS = 3.0
SIDE, NUM_THINGS, NUM_STUFF, NUM_FRAMES = 640, 26, 4, 60
IMAGES = {"facades": (3, 17, 31), "nuclei": (2, 35, 60)}
"""Places in `val` of the images that a camera moves over."""

VIEW = (320, 320)
LENGTH = 40
"""Size in pixels and number of frames of a view."""

Results = list[dict[str, Any]]


class Numbered:
    """No tracking: every thing of every frame has an identity of its own."""

    def __init__(self) -> None:
        """Count from 1000, above the classes, which stand for stuff."""
        self.count = 1000

    def update(self, result: dict[str, Any]) -> dict[str, Any]:
        """Number the things of a frame."""
        infos = []
        for info in result["segments_info"]:
            self.count += info["is_thing"]
            infos.append({**info, "track_id": self.count if info["is_thing"] else info["label_id"] + 1})
        return {**result, "segments_info": infos}


def without_embeddings(results: Results) -> Results:
    """Return results as a predictor gives them that has no embeddings."""
    return [
        {
            **result,
            "segments_info": [
                {key: value for key, value in info.items() if key != "embedding"} for info in result["segments_info"]
            ],
        }
        for result in results
    ]


def tracked(tracker: Any, results: Results) -> Results:
    """Return all results of one video with identities, or smoothed."""
    return [tracker.update(result) for result in results]


def entries(results: Results) -> Iterator[tuple[str, Results]]:
    """Yield the name and the results of each entry for one video."""
    plain = without_embeddings(results)
    yield "no tracking", tracked(Numbered(), plain)
    yield "IoU alone", tracked(Tracker(TrackerSettings(use_motion=False)), plain)
    best = tracked(Tracker(), plain)
    yield "+ motion", best
    if any("embedding" in info for result in results for info in result["segments_info"]):
        best = tracked(Tracker(), results)
        yield "+ kernels", best
    yield "+ smoothing", tracked(Smoother(), best)


def track_maps(results: Results) -> Iterator[np.ndarray]:
    """Yield the track id of each pixel, frame by frame."""
    for result in results:
        table = np.zeros(1 + max((info["id"] for info in result["segments_info"]), default=0), np.int64)
        for info in result["segments_info"]:
            table[info["id"]] = info["track_id"]
        yield table[result["segmentation"]]


def score(scene: "scenes.Scene", results: Results) -> dict[str, Any]:
    """Return the scores of one video, 0 to 1, and the number of switches."""
    frames = [scenes.as_frame(result, scene.categories) for result in results]
    quality = video_quality(count_video(scene.frames, frames, scene.categories), scene.categories)
    windows = {f"vpq_{length}": round(result.all.pq, 4) for length, result in quality.windows.items()}
    figures = ("vpq", "stq", "aq", "sq", "idf1")
    return {
        **{name: round(getattr(quality, name), 4) for name in figures},
        **windows,
        "id_switches": quality.id_switches,
        "flicker": round(flicker(track_maps(results)), 4),
        "frames": quality.num_frames,
        "tracks": quality.num_tracks,
    }


def cameras(size: tuple[int, int]) -> dict[str, Callable[[float], tuple[float, float, float]]]:
    """Return a pan and a zoom over an image of (height, width) pixels for a view of `VIEW`."""
    free_y, free_x = max(size[0] - VIEW[0], 0), max(size[1] - VIEW[1], 0)

    def pan(t: float) -> tuple[float, float, float]:
        return free_x * (0.5 - 0.5 * math.cos(2 * math.pi * t / 50)), free_y * t / LENGTH, 1.0

    def zoom(t: float) -> tuple[float, float, float]:
        scale = math.exp(0.45 * math.sin(2 * math.pi * t / LENGTH))
        return size[1] / 2 - VIEW[1] / 2 / scale, size[0] / 2 - VIEW[0] / 2 / scale, scale

    return {"pan": pan, "zoom": zoom}


def real_images(data: Path, name: str) -> Iterator[tuple[np.ndarray, np.ndarray, list[dict[str, Any]], Categories]]:
    """Yield image, id map, segments and categories of the chosen images of a data set."""
    folder = data / name
    content = read_json(folder / "annotations" / "panoptic_val.json")
    categories = Categories.from_json(content["categories"])
    files = {image["id"]: image["file_name"] for image in content["images"]}
    for place in IMAGES[name]:
        entry = content["annotations"][place]
        id_map = read_id_map(folder / "annotations" / "panoptic_val" / entry["file_name"])
        yield read_image(folder / "val" / files[entry["image_id"]]), id_map, entry["segments_info"], categories


def videos(data: Path | None) -> Iterator[tuple[str, "scenes.Scene", Results]]:
    """Yield group, truth and predictions of every video."""
    for make in scenes.SCENES:
        scene = make()
        yield "drawn", scene, scenes.predictions(scene, scenes.Faults(), seed=0)
    if data is None:
        return
    predictor = load("facades-mnv2", "cpu", runtime="torch")
    for name in IMAGES:
        for number, (image, id_map, segments, categories) in enumerate(real_images(data, name)):
            for move, camera in cameras(id_map.shape).items():
                title = f"{name} {number} {move}"
                scene = scenes.view(title, id_map, segments, categories, camera, LENGTH, VIEW)
                yield "views", scene, scenes.predictions(scene, scenes.Faults(appearance=None), seed=number)
                if name == "facades":
                    frames = (scenes.through_camera(image, camera(t), VIEW) for t in range(LENGTH))
                    results = [predictor(frame, input_size="native", with_embeddings=True) for frame in frames]
                    yield "network", scene, results


def objects_of(frame: Any, result: dict[str, Any]) -> list[tuple[int, int, np.ndarray]]:
    """Return true id, class and embedding (of length 1) of each thing whose IoU with the truth is above 0.5."""
    found = []
    for info in result["segments_info"]:
        if not info["is_thing"]:
            continue
        mask = result["segmentation"] == info["id"]
        ids, counts = np.unique(frame.id_map[mask], return_counts=True)
        true, shared = int(ids[counts.argmax()]), int(counts.max())
        if true and 2 * shared > np.count_nonzero((frame.id_map == true) | mask):
            found.append((true, info["label_id"], info["embedding"] / np.linalg.norm(info["embedding"])))
    return found


def add_cosines(cosines: dict[str, list[float]], scene: "scenes.Scene", results: Results) -> None:
    """Add the cosines of the embeddings of things of one class in successive frames."""
    before: list[tuple[int, int, np.ndarray]] = []
    for frame, result in zip(scene.frames, results, strict=True):
        now = objects_of(frame, result)
        for true, label, look in before:
            for other, other_label, other_look in now:
                if label == other_label:
                    cosines["same" if true == other else "different"].append(float(look @ other_look))
        before = now


def measure_quality(data: Path | None) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Score every entry on every video; print a line for each.

    Returns:
        A row per video and entry; the 5th, 50th and 95th percentile of the cosines of kernels of the same and of
        different things.
    """
    rows, cosines = [], {"same": [], "different": []}
    for group, scene, results in videos(data):
        if group == "network":
            add_cosines(cosines, scene, results)
        for entry, found in entries(results):
            rows.append({"group": group, "scene": scene.name, "entry": entry, **score(scene, found)})
            row = rows[-1]
            print(
                f"{group:8} {scene.name:16} {entry:12} VPQ {100 * row['vpq']:5.1f}  STQ {100 * row['stq']:5.1f}  "
                f"IDF1 {100 * row['idf1']:5.1f}  switches {row['id_switches']:5}  flicker {100 * row['flicker']:.2f}%",
                flush=True,
            )
    found = {kind: np.percentile(values, (5, 50, 95)).round(3).tolist() for kind, values in cosines.items() if values}
    return rows, found


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean scores and the total switches of each group and entry."""
    found = []
    for group, entry in dict.fromkeys((row["group"], row["entry"]) for row in rows):
        own = [row for row in rows if (row["group"], row["entry"]) == (group, entry)]
        figures = [key for key in own[0] if isinstance(own[0][key], float)]
        mean = {key: round(float(np.nanmean([row[key] for row in own])), 4) for key in figures}
        total = {key: sum(row[key] for row in own) for key in ("id_switches", "frames", "tracks")}
        found.append({"group": group, "entry": entry, "videos": len(own), **mean, **total})
    return found


def moving_things() -> Results:
    """Return results of 640x640 pixels with 26 moving things and 4 kinds of stuff, with embeddings of 128 numbers."""
    rng = np.random.default_rng(0)
    start, speed = rng.uniform(60, SIDE - 60, (NUM_THINGS, 2)), rng.normal(0, 3, (NUM_THINGS, 2))
    radius, looks = rng.uniform(25, 60, NUM_THINGS), rng.normal(size=(NUM_THINGS, 128))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    frames = []
    for t in range(NUM_FRAMES):
        owner = 101 + (rows // (SIDE // 2)) * 2 + columns // (SIDE // 2)
        for number in range(NUM_THINGS):
            x, y = (start[number] + t * speed[number]) % SIDE
            owner[(columns - x) ** 2 + (rows - y) ** 2 <= radius[number] ** 2] = number + 1
        infos = []
        for segment_id in np.unique(owner).tolist():
            found = np.argwhere(owner == segment_id)
            (top, left), (bottom, right) = found.min(0).tolist(), found.max(0).tolist()
            is_thing = segment_id <= NUM_THINGS
            known = {"id": segment_id, "label_id": segment_id % 3 if is_thing else segment_id - 98, "label": "x"}
            known |= {"is_thing": is_thing, "score": 0.9, "area": len(found)}
            known["bbox"] = [left, top, right - left + 1, bottom - top + 1]
            if is_thing:
                known["embedding"] = (looks[segment_id - 1] + rng.normal(0, 0.5, 128)).astype(np.float32)
            infos.append(known)
        frames.append({"segmentation": owner.astype(np.int32), "segments_info": infos})
    return frames


def measure_speed() -> list[dict[str, Any]]:
    """Time each frame of a video of 640x640 pixels with up to 30 segments; print a line per entry."""
    results, seconds_of, rows = moving_things(), timer(CPU), []
    plain = without_embeddings(results)
    finished = tracked(Tracker(), plain)
    entries = (
        ("IoU alone", lambda: Tracker(TrackerSettings(use_motion=False)), plain),
        ("+ motion", Tracker, plain),
        ("+ kernels", Tracker, results),
        ("smoothing alone", Smoother, finished),
    )
    for entry, make, frames in entries:
        taken = []
        for _ in range(4):
            tracker = make()
            taken.append([seconds_of(lambda frame=frame, one=tracker: one.update(frame)) for frame in frames])
        summary = LatencySummary.of([second for run in taken[1:] for second in run])
        rows.append({"entry": entry, "milliseconds": round(1000 * summary.median, 3)})
        if entry != "smoothing alone":
            rows[-1]["aim"] = TARGET_MS
        print(f"{entry:16} {rows[-1]['milliseconds']:6.2f} ms per frame", flush=True)
    return rows


def main() -> int:
    """Measure, print and write the JSON file."""
    parser = argparse.ArgumentParser(description="Measure the quality or the speed of tracking.")
    parser.add_argument("what", choices=("quality", "speed"))
    parser.add_argument("--data", type=Path, help="folder with facades/ and nuclei/, for real images")
    parser.add_argument("--json", type=Path, help="output file (default: in benchmarks/results)")
    options = parser.parse_args()
    path = options.json or RESULTS / f"tracking_{options.what}.json"
    if options.what == "quality":
        rows, cosines = measure_quality(options.data)
        content: dict[str, Any] = {"means": means(rows), "kernel_cosines": cosines, "videos": rows}
    else:
        rows = measure_speed()
        protocol = (
            f"{SIDE}x{SIDE} pixels, up to {NUM_THINGS + NUM_STUFF} segments, median of 3 runs over {NUM_FRAMES} frames"
        )
        content = {"protocol": f"{protocol}, after one of warm-up", "results": rows}
    write_json(path, {**content, **provenance(CPU)}, indent=1)
    print(f"written: {path}")
    slow = [row for row in rows if row.get("milliseconds", 0) > row.get("aim", math.inf)]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
