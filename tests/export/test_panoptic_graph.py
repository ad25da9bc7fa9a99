"""What is written by hand around the network does what `yoso.preprocess` and `yoso.postprocess` do."""

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from yoso.export.graph import GraphWriter
from yoso.export.panoptic_graph import MergeInputs, write_merge, write_normalising, write_resizing
from yoso.inference.onnx_engine import import_onnxruntime
from yoso.postprocess import Sizes, panoptic_numpy
from yoso.preprocess import resize, resized_size
from yoso.settings import Thresholds

KINDS = ir.DataType
IS_THING = (True, False, True, False, False)


def session(write, inputs, outputs, without=()):
    for value, kind, shape in outputs:
        value.dtype, value.shape = kind, ir.Shape(shape)
    graph = ir.Graph(
        inputs,
        [value for value, _, _ in outputs],
        nodes=[node for node in write.nodes if node.op_type not in without],
        initializers=write.constants,
        opset_imports={"": 20},
        name="test",
    )
    data = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    return import_onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def merge():
    write = GraphWriter("merge")
    inputs = [
        ir.val("class_logits", dtype=KINDS.FLOAT, shape=(1, "N", len(IS_THING) + 1)),
        ir.val("mask_logits", dtype=KINDS.FLOAT, shape=(1, "N", "h", "w")),
        *(ir.val(name, dtype=KINDS.INT64, shape=(2,)) for name in ("padded", "image", "output")),
        ir.val("object_mask_threshold", dtype=KINDS.FLOAT, shape=()),
        ir.val("overlap_threshold", dtype=KINDS.DOUBLE, shape=()),
        ir.val("kernels", dtype=KINDS.FLOAT, shape=(1, "N", 1)),
    ]
    merged = write_merge(write, MergeInputs(*inputs), IS_THING)
    values = [getattr(merged, field.name) for field in dataclasses.fields(merged)]
    kinds = (KINDS.INT32, KINDS.INT64, KINDS.FLOAT, KINDS.INT64, KINDS.INT64, KINDS.FLOAT)
    shapes = (("H", "W"), ("S",), ("S",), ("S",), ("S", 4), ("S", 1))
    return session(write, inputs, list(zip(values, kinds, shapes, strict=True)))


def run(merge, class_logits, mask_logits, sizes, thresholds):
    feeds = {
        "class_logits": class_logits[None],
        "mask_logits": mask_logits[None],
        "padded": np.array(sizes.padded),
        "image": np.array(sizes.image),
        "output": np.array(sizes.output),
        "object_mask_threshold": np.array(thresholds[0], np.float32),
        "overlap_threshold": np.array(thresholds[1], np.float64),
        "kernels": np.arange(len(class_logits), dtype=np.float32)[None, :, None],
    }
    return merge.run(None, feeds)


def check(merge, class_logits, mask_logits, sizes, thresholds):
    segmentation, class_indices, scores, areas, boxes, kernels = run(
        merge, class_logits, mask_logits, sizes, thresholds
    )
    expected = panoptic_numpy(class_logits, mask_logits, sizes, IS_THING, Thresholds(*thresholds))
    assert class_indices.tolist() == [segment.class_index for segment in expected.segments]
    assert kernels[:, 0].tolist() == [segment.query for segment in expected.segments]
    assert np.allclose(scores, [segment.score for segment in expected.segments], atol=1e-6)
    # Resizing rounds differently, so a pixel where two masks tie to the last bits may go to the other.
    assert np.count_nonzero(segmentation != expected.segmentation) <= 1e-3 * segmentation.size
    for segment, area, (top, bottom, left, right) in zip(expected.segments, areas, boxes, strict=True):
        mask = segmentation == segment.id
        assert area == mask.sum()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (top, bottom, left, right) == (rows[0], rows[-1], columns[0], columns[-1])
    return expected


SIZES = [
    Sizes((64, 96), (64, 96), (64, 96)),
    Sizes((64, 96), (50, 90), (50, 90)),
    Sizes((64, 96), (50, 90), (100, 180)),
    Sizes((64, 96), (50, 90), (37, 61)),
    Sizes((32, 32), (1, 32), (2, 3)),
]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.sampled_from(SIZES),
    st.sampled_from([(0.0, 0.0), (0.3, 0.3), (0.5, 0.8), (0.9, 0.1)]),
)
def test_any_logits(merge, seed, num_queries, sizes, thresholds):
    random = np.random.default_rng(seed)
    class_logits = random.normal(0, 3, (num_queries, len(IS_THING) + 1)).astype(np.float32)
    height, width = sizes.padded[0] // 4, sizes.padded[1] // 4
    blocks = random.normal(0, 4, (num_queries, height // 8 + 1, width // 8 + 1))
    smooth = np.kron(blocks, np.ones((8, 8)))[:, :height, :width]
    mask_logits = (smooth + random.normal(0, 1, smooth.shape)).astype(np.float32)
    check(merge, class_logits, mask_logits, sizes, thresholds)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.sampled_from([Sizes((256, 320), (250, 300), (250, 300)), Sizes((128, 160), (120, 160), (301, 420))]),
)
@example(1, 5, Sizes((128, 160), (120, 160), (301, 420)))
def test_masks_that_matter_in_few_tiles(merge, seed, num_queries, sizes):
    random = np.random.default_rng(seed)
    class_logits = random.normal(0, 3, (num_queries, len(IS_THING) + 1)).astype(np.float32)
    height, width = sizes.padded[0] // 4, sizes.padded[1] // 4
    rows, columns = np.ogrid[:height, :width]
    tops, lefts = random.integers(0, height, (num_queries, 1, 1)), random.integers(0, width, (num_queries, 1, 1))
    radii, depths = random.uniform(1, 20, (num_queries, 1, 1)), random.uniform(0.5, 100, (num_queries, 1, 1))
    distance = np.hypot(rows - tops, columns - lefts)
    mask_logits = (depths * (1 - distance / radii)).clip(-depths, depths).astype(np.float32)
    check(merge, class_logits, mask_logits, sizes, (0.3, 0.1))


@pytest.mark.parametrize("logit", [1e-6, 0.0, -1e-6, -1e-3, -30.0])
def test_a_pixel_is_covered_from_one_half_on(merge, logit):
    class_logits = np.array([[9.0, 0, 0, 0, 0, 0]], np.float32)
    mask_logits = np.full((1, 16, 24), logit, np.float32)
    expected = check(merge, class_logits, mask_logits, SIZES[0], (0.5, 0.5))
    assert len(expected.segments) == (logit >= 0)


def test_no_query_is_kept(merge):
    class_logits = np.zeros((4, len(IS_THING) + 1), np.float32)
    segmentation, class_indices, _, areas, boxes, kernels = run(
        merge, class_logits, np.ones((4, 8, 8), np.float32), SIZES[4], (1, 0)
    )
    assert not segmentation.any()
    assert (class_indices.shape, areas.shape, boxes.shape, kernels.shape) == ((0,), (0,), (0, 4), (0, 1))


def test_pieces_of_stuff_become_one_segment(merge):
    class_logits = np.full((3, len(IS_THING) + 1), -9, np.float32)
    class_logits[[0, 1, 2], [1, 0, 1]] = 9
    mask_logits = np.full((3, 16, 24), -20, np.float32)
    mask_logits[0, :, :8], mask_logits[1, :, 8:16], mask_logits[2, :, 16:] = 20, 20, 20
    expected = check(merge, class_logits, mask_logits, SIZES[0], (0.5, 0.5))
    assert [segment.class_index for segment in expected.segments] == [1, 0]


def test_the_crafted_masks_of_the_official_post_processing(merge, golden):
    """Their masks, with classes drawn at random: the merge agrees with NumPy's, which is tested against the figures."""
    with np.load(golden / "postprocess.npz") as file:
        names = [name for name in file.files if "mask" in name]
        assert names
        mask_logits = file[names[0]].astype(np.float32)
    mask_logits = mask_logits.reshape(-1, *mask_logits.shape[-2:])
    class_logits = np.random.default_rng(0).normal(0, 4, (len(mask_logits), len(IS_THING) + 1)).astype(np.float32)
    height, width = 4 * mask_logits.shape[1], 4 * mask_logits.shape[2]
    expected = check(merge, class_logits, mask_logits, Sizes((height, width), (height, width), (50, 90)), (0.3, 0.1))
    assert expected.segments


@pytest.fixture(scope="module")
def resizing():
    write = GraphWriter("prepare")
    image = ir.val("image", dtype=KINDS.UINT8, shape=("H", "W", 3))
    input_size = ir.val("input_size", dtype=KINDS.INT64, shape=(2,))
    resized, size, photo_size = write_resizing(write, image, input_size)
    outputs = [(resized, KINDS.UINT8, (1, 3, "h", "w")), (size, KINDS.INT64, (2,)), (photo_size, KINDS.INT64, (2,))]
    return session(write, [image, input_size], outputs)


@pytest.mark.parametrize("side", [(97, 131), (640, 640), (33, 500), (1, 7)])
@pytest.mark.parametrize("input_size", [(64, 128), (320, 640), (100, 101), (500, 800), None])
def test_resizing_is_pillow_s(resizing, side, input_size):
    coarse = np.random.default_rng(0).integers(0, 256, (-(-side[0] // 9), -(-side[1] // 9), 3)).astype(np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((side[1], side[0]), Image.Resampling.BICUBIC))
    resized, size, photo_size = resizing.run(None, {"image": image, "input_size": np.array(input_size or (0, 0))})
    expected = resize(image, resized_size(side, input_size))
    assert tuple(size) == expected.shape[:2]
    assert tuple(photo_size) == side
    difference = np.abs(resized[0].transpose(1, 2, 0).astype(int) - expected)
    # Where the scale is no short fraction, ONNX Runtime's float32 positions move a few values by one level or two.
    assert difference.max(initial=0) <= 2
    assert np.mean(difference > 1) <= 0.01


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 900), st.integers(1, 1500))
def test_the_size_is_the_same_for_every_image(size_only, height, width, shorter, longest):
    (size,) = size_only.run(
        None, {"shape": np.zeros((height, width, 0), np.uint8), "input_size": np.array((shorter, longest))}
    )
    assert tuple(size) == resized_size((height, width), (shorter, longest))


@pytest.fixture(scope="module")
def size_only():
    """The size alone: an image without channels takes no memory."""
    write = GraphWriter("prepare")
    image = ir.val("shape", dtype=KINDS.UINT8, shape=("H", "W", 0))
    input_size = ir.val("input_size", dtype=KINDS.INT64, shape=(2,))
    _, size, _ = write_resizing(write, image, input_size)
    return session(write, [image, input_size], [(size, KINDS.INT64, (2,))], without={"Resize"})


def test_normalise_then_pad():
    write = GraphWriter("prepare")
    images = ir.val("images", dtype=KINDS.UINT8, shape=("B", 3, "H", "W"))
    prepared = write_normalising(write, images, (10.0, 20.0, 30.0), (1.0, 2.0, 4.0))
    run_it = session(write, [images], [(prepared, KINDS.FLOAT, ("B", 3, "h", "w"))])
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 33, 64)).astype(np.uint8)
    (found,) = run_it.run(None, {"images": array})
    assert found.shape == (2, 3, 64, 64)
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in ((10, 20, 30), (1, 2, 4)))
    assert np.array_equal(found[:, :, :33], (array - mean) / std)
    assert not found[:, :, 33:].any()
