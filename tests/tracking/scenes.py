"""Videos whose tubes are known: drawn scenes, and views that move over real panoptic maps; and predictions of them.

A drawn scene is a function of time: things with a place, a size and a depth, over two kinds of stuff, seen by a camera
that may pan and zoom. Predictions are the truth with the faults that a network makes, each drawn from a seed.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yoso.categories import Categories, Category
from yoso.evaluation.tubes import TubeFrame

HEIGHT, WIDTH = 192, 256
CATEGORIES = Categories(
    [
        Category(1, "ground", False, (90, 160, 60)),
        Category(2, "sky", False, (80, 140, 240)),
        Category(3, "box", True, (220, 40, 40)),
        Category(4, "disc", True, (240, 190, 40)),
        Category(5, "pillar", True, (120, 120, 120)),
    ]
)
BOX, DISC, PILLAR = 3, 4, 5
MIN_PIXELS = 12
"""Things of which less is visible are not in the truth; their pixels are void."""

Path = Callable[[float], tuple[float, float]]
CameraShift = Callable[[float], tuple[float, float, float]]


@dataclass(frozen=True)
class Thing:
    """An object of a drawn scene.

    Attributes:
        path: centre (x, y) in the world at a time; a later object of a scene covers an earlier one.
        radius: (half width, half height).
        category_id: `BOX` and `PILLAR` are rectangles, `DISC` is an ellipse.
    """

    path: Path
    radius: tuple[float, float] = (14.0, 18.0)
    category_id: int = BOX


@dataclass(frozen=True)
class Scene:
    """A video with its truth.

    Attributes:
        name: for tables.
        categories: its classes.
        frames: the truth.
    """

    name: str
    categories: Categories
    frames: list[TubeFrame]


def still(x: float, y: float) -> Path:
    """Return a path that stays."""
    return lambda t: (x, y)


def line(x: float, y: float, dx: float, dy: float = 0.0) -> Path:
    """Return a path of constant velocity in pixels per frame."""
    return lambda t: (x + dx * t, y + dy * t)


def no_camera(t: float) -> tuple[float, float, float]:
    """Return the view (left, top, pixels per world unit) of a camera that stands still."""
    return 0.0, 0.0, 1.0


def draw(name: str, things: Sequence[Thing], num_frames: int, camera: CameraShift = no_camera) -> Scene:
    """Draw a scene of `HEIGHT` x `WIDTH`; track ids are places in `things` plus 1."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    frames = []
    for t in range(num_frames):
        left, top, zoom = camera(t)
        x, y = left + columns / zoom, top + rows / zoom
        owner = np.where(y < 60 + 8 * np.sin(x / 23) + 5 * np.sin(x / 7.3), 102, 101)
        for number, thing in enumerate(things, 1):
            (cx, cy), (rx, ry) = thing.path(t), thing.radius
            u, v = (x - cx) / rx, (y - cy) / ry
            inside = u * u + v * v <= 1 if thing.category_id == DISC else np.maximum(abs(u), abs(v)) <= 1
            owner[inside] = number
        segments = []
        for number, thing in enumerate(things, 1):
            area = int((owner == number).sum())
            if area >= MIN_PIXELS:
                segments.append({"id": number, "category_id": thing.category_id, "track_id": number})
            elif area:
                owner[owner == number] = 0
        segments += [{"id": 100 + kind, "category_id": kind} for kind in (1, 2) if (owner == 100 + kind).any()]
        frames.append(TubeFrame(owner.astype(np.int32), segments))
    return Scene(name, CATEGORIES, frames)


def occlusion() -> Scene:
    """Boxes and discs that pass behind pillars, hidden for up to ten frames; some stop there for a while."""

    def pausing(y: float, start: float, speed: float) -> Path:
        return lambda t: (start + speed * (min(t, 17) + max(t - 27, 0)), y)

    things = [
        Thing(line(10, 90, 4.0)),
        Thing(line(-20, 130, 3.0), category_id=DISC),
        Thing(pausing(165, 20, 4.6), (10, 12)),
        Thing(line(240, 110, -3.5), (12, 14), DISC),
        Thing(still(100, 120), (20, 75), PILLAR),
        Thing(still(190, 120), (20, 75), PILLAR),
    ]
    return draw("occlusion", things, 60)


def crossing() -> Scene:
    """Pairs of equal objects that meet and pass each other, straight and at an angle."""
    things = [
        *(Thing(line(20, 80, 3.4)), Thing(line(232, 80, -3.4))),
        *(Thing(line(30, 120, 2.6, 0.6), category_id=DISC), Thing(line(220, 156, -2.6, -0.6), category_id=DISC)),
        *(Thing(line(128, 20, 0.3, 2.2), (10, 10)), Thing(line(146, 170, -0.3, -2.2), (10, 10))),
    ]
    return draw("crossing", things, 60)


def returning() -> Scene:
    """Objects that leave the picture and come back some frames later, and some that stay."""

    def swing(y: float, phase: float, period: float) -> Path:
        return lambda t: (128 + 165 * math.sin(2 * math.pi * t / period + phase), y)

    things = [
        *(Thing(swing(40 + 34 * row, 1.1 * row, 80 + 8 * row), (16, 13), BOX if row % 2 else DISC) for row in range(5)),
        *(Thing(still(60 + 66 * k, 176), (12, 9)) for k in range(3)),
    ]
    return draw("returning", things, 90)


def _facade() -> list[Thing]:
    return [
        Thing(still(-150 + 44 * column, -70 + 52 * row), (11, 15), BOX if row % 3 else DISC)
        for column in range(14)
        for row in range(7)
    ]


def pan() -> Scene:
    """Equal objects in rows, like windows, under a camera that pans there and back."""
    return draw("pan", _facade(), 72, lambda t: (90 * math.sin(2 * math.pi * t / 48), 25 * math.sin(t / 9), 1.0))


def shake() -> Scene:
    """The same under a camera in a shaking hand: jumps of up to half the distance of two objects."""
    jumps = np.random.default_rng(5).normal(0, 8, (72, 2)).clip(-18, 18)
    return draw("shake", _facade(), 72, lambda t: (1.5 * t + jumps[int(t), 0], jumps[int(t), 1], 1.0))


def zoom() -> Scene:
    """The same under a camera that zooms in and out about the middle."""

    def camera(t: float) -> tuple[float, float, float]:
        scale = math.exp(0.6 * math.sin(2 * math.pi * t / 60))
        return 128 - 128 / scale, 96 - 96 / scale, scale

    return draw("zoom", _facade(), 72, camera)


def crowd() -> Scene:
    """Forty small objects that wander, hide each other, and are nudged at random."""
    rng = np.random.default_rng(7)
    start = rng.uniform((10, 10), (WIDTH - 10, HEIGHT - 10), (40, 2))
    speed = rng.normal(0, 1.6, (40, 2))
    steps = speed[:, None] + rng.normal(0, 0.5, (40, 60, 2))
    places = start[:, None] + np.cumsum(steps, 1)
    things = [
        Thing(lambda t, own=places[k]: tuple(own[int(t)]), tuple(rng.uniform(4, 9, 2)), DISC if k % 3 else BOX)
        for k in range(40)
    ]
    return draw("crowd", things, 60)


def illumination() -> Scene:
    """Equal objects under a steady pan, in a light that fails; see `failing_light`, with which it is predicted."""
    return draw("illumination", _facade(), 60, lambda t: (4.0 * t - 60, 0.0, 1.0))


SCENES = (occlusion, crossing, returning, pan, shake, zoom, crowd, illumination)


def view(
    name: str,
    id_map: np.ndarray,
    segments: Iterable[dict[str, Any]],
    categories: Categories,
    camera: CameraShift,
    num_frames: int,
    size: tuple[int, int],
) -> Scene:
    """Move a camera over a panoptic map; what is outside the map is void.

    Args:
        name: for tables.
        id_map: (H, W).
        segments: its `segments_info`; ids become track ids.
        categories: their classes.
        camera: left, top and zoom of the view at a time, in pixels of the map.
        num_frames: how many.
        size: (height, width) of the view.
    """
    by_id = {segment["id"]: segment for segment in segments}
    frames = []
    for t in range(num_frames):
        seen = through_camera(id_map, camera(t), size)
        ids, counts = np.unique(seen, return_counts=True)
        too_small = [i for i, n in zip(ids.tolist(), counts.tolist(), strict=True) if n < MIN_PIXELS and i]
        seen[np.isin(seen, too_small)] = 0
        own = [by_id[i] for i in ids.tolist() if i in by_id and i not in too_small]
        frames.append(TubeFrame(seen, [{**segment, "track_id": segment["id"]} for segment in own]))
    return Scene(name, categories, frames)


def through_camera(array: np.ndarray, place: tuple[float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Return the part (height, width) of an image or map that a camera sees, nearest pixels, 0 outside."""
    left, top, zoom = place
    rows = np.floor(top + (np.arange(size[0]) + 0.5) / zoom).astype(int)
    columns = np.floor(left + (np.arange(size[1]) + 0.5) / zoom).astype(int)
    inside = np.ix_((rows >= 0) & (rows < array.shape[0]), (columns >= 0) & (columns < array.shape[1]))
    seen = np.zeros((*size, *array.shape[2:]), array.dtype)
    seen[inside] = array[np.ix_(rows.clip(0, array.shape[0] - 1), columns.clip(0, array.shape[1] - 1))][inside]
    return seen


@dataclass(frozen=True)
class Faults:
    """What a network gets wrong, per frame and segment.

    Attributes:
        missed: probability that a thing is not found; its pixels are void.
        merged: probability that a thing and its nearest neighbour are one segment.
        flipped: probability that a thing has a class drawn from those of the first frame's things.
        jitter: standard deviation of the boundaries in pixels; smooth along a boundary, new in every frame.
        appearance: standard deviation of the embeddings' noise where the spread between things is 1; None for none. At
            0.4, two embeddings of a thing have a cosine of 0.86, as kernels of a network have.
    """

    missed: float = 0.05
    merged: float = 0.02
    flipped: float = 0.05
    jitter: float = 1.0
    appearance: float | None = 0.4


def failing_light(t: int) -> Faults:
    """Return the faults of frame t where the light fails for six frames of twenty: most things are not found."""
    return Faults(missed=0.6, merged=0.05, flipped=0.2, jitter=1.5, appearance=0.8) if t % 20 >= 14 else Faults()


def usual_faults(scene: Scene) -> Faults | Callable[[int], Faults]:
    """Return the faults with which a scene is predicted."""
    return failing_light if scene.name == "illumination" else Faults()


def predictions(scene: Scene, faults: Faults | Callable[[int], Faults], seed: int) -> list[dict[str, Any]]:
    """Return a result per frame as `yoso.Predictor` gives it, with faults drawn from a seed.

    Segment ids are drawn anew in every frame. With `faults.appearance`, things have an `embedding`.
    """
    rng = np.random.default_rng(seed)
    tracks = sorted({one["track_id"] for frame in scene.frames for one in frame.segments if _is_thing(one, scene)})
    looks = dict(zip(tracks, rng.normal(size=(len(tracks), 16)), strict=True))
    own = [faults if isinstance(faults, Faults) else faults(t) for t in range(len(scene.frames))]
    return [_prediction(frame, scene, one, looks, rng) for frame, one in zip(scene.frames, own, strict=True)]


def _is_thing(segment: dict[str, Any], scene: Scene) -> bool:
    return scene.categories[scene.categories.index_of(segment["category_id"])].is_thing


def _prediction(frame: TubeFrame, scene: Scene, faults: Faults, looks: dict, rng: np.random.Generator) -> dict:
    things = [dict(one) for one in frame.segments if _is_thing(one, scene)]
    others = [dict(one) for one in frame.segments if not _is_thing(one, scene)]
    id_map = frame.id_map.copy()
    kinds = sorted({one["category_id"] for one in scene.frames[0].segments if _is_thing(one, scene)})
    for one in things:
        if rng.random() < faults.flipped:
            one["category_id"] = int(rng.choice(kinds))
    things = _merged(id_map, things, faults.merged, rng)
    for one in [one for one in things if rng.random() < faults.missed]:
        id_map[id_map == one["id"]] = 0
    return result_of(_jittered(id_map, faults.jitter, rng), [*things, *others], scene, (faults, looks, rng))


def _merged(id_map: np.ndarray, things: list[dict], share: float, rng: np.random.Generator) -> list[dict]:
    """Give some things' pixels to their nearest neighbour."""
    centres = {one["id"]: np.argwhere(id_map == one["id"]).mean(0) for one in things}
    for one in things:
        others = [other for other in things if other is not one and other["id"] in centres]
        if others and rng.random() < share:
            nearest = min(others, key=lambda other: np.hypot(*(centres[other["id"]] - centres[one["id"]])))
            id_map[id_map == one["id"]] = nearest["id"]
            del centres[one["id"]]
    return [one for one in things if one["id"] in centres]


def _jittered(id_map: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Move every boundary a little, by fetching pixels from places that a smooth noise displaces."""
    if not size:
        return id_map
    height, width = id_map.shape
    coarse = rng.normal(0, size, (2, height // 6 + 2, width // 6 + 2))
    rows, columns = np.arange(height) / 6, np.arange(width) / 6
    smooth = [_bilinear(noise, rows, columns) for noise in coarse]
    y = np.rint(np.arange(height)[:, None] + smooth[0]).astype(int).clip(0, height - 1)
    x = np.rint(np.arange(width) + smooth[1]).astype(int).clip(0, width - 1)
    return id_map[y, x]


def _bilinear(grid: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    r, c = rows.astype(int), columns.astype(int)
    v, u = (rows - r)[:, None], columns - c
    upper = grid[r][:, c] * (1 - u) + grid[r][:, c + 1] * u
    lower = grid[r + 1][:, c] * (1 - u) + grid[r + 1][:, c + 1] * u
    return upper * (1 - v) + lower * v


def result_of(id_map: np.ndarray, segments: list[dict], scene: Scene, drawn: tuple | None = None) -> dict[str, Any]:
    """Return a frame as `yoso.Predictor` gives it; `drawn` holds faults, looks and generator, None for no faults."""
    faults, looks, rng = drawn or (Faults(appearance=None), {}, np.random.default_rng(0))
    segments = [one for one in segments if (id_map == one["id"]).any()]
    order = rng.permutation(len(segments)) if drawn else range(len(segments))
    segmentation, infos = np.zeros(id_map.shape, np.int32), []
    for number, place in enumerate(order, 1):
        segment = segments[place]
        mask = id_map == segment["id"]
        segmentation[mask] = number
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        index = scene.categories.index_of(segment["category_id"])
        info = {
            "id": number,
            "label_id": index,
            "label": scene.categories[index].name,
            "is_thing": scene.categories[index].is_thing,
            "score": 0.9,
            "area": int(mask.sum()),
            "bbox": [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)],
        }
        if faults.appearance is not None and info["is_thing"]:
            look = looks[segment["track_id"]]
            info["embedding"] = look + rng.normal(0, faults.appearance, look.shape)
        infos.append(info)
    return {"segmentation": segmentation, "segments_info": infos}


def as_frame(result: dict[str, Any], categories: Categories) -> TubeFrame:
    """Return a tracked result in the form that is scored."""
    return TubeFrame(
        result["segmentation"],
        [
            {"id": info["id"], "category_id": categories[info["label_id"]].id, "track_id": info["track_id"]}
            for info in result["segments_info"]
        ],
    )
