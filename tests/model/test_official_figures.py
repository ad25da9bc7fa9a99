"""Every landmark on the way through the network equals the official one."""

import copy
import json
from functools import cache

import numpy as np
import pytest
import torch

from golden_figures import FORWARDS, GOLDEN, TOLERANCE, Figures, fill, uniform
from yoso.model.attention import ATTENTIONS
from yoso.model.config import ModelConfig
from yoso.postprocess import Sizes, panoptic
from yoso.settings import Thresholds
from yoso.weights.official import our_name

NOT_OF_THE_NETWORK = ("image_", "panoptic_", "masks_final_", "semantic_", "instance_")
LANDMARKS = [
    (forward, name)
    for forward in FORWARDS
    for name in Figures.read(GOLDEN / f"forward_{forward}.npz").names
    if not name.startswith(NOT_OF_THE_NETWORK)
]


def test_no_landmark_is_left_out():
    assert {forward: sum(f == forward for f, _ in LANDMARKS) for forward in FORWARDS} == {
        "coco_a": 52,
        "coco_c": 13,
        "cityscapes_c": 6,
        "ade20k_a": 5,
    }


@pytest.fixture(scope="session")
def landmarks(official_network):
    """What the network says at each landmark of a recorded pass, by the official names."""

    @cache
    def run(forward, dtype):
        network = official_network(forward.split("_")[0])
        if dtype == torch.float64:
            network = copy.deepcopy(network).double()
        images = Figures.read(GOLDEN / f"forward_{forward}.npz").images
        seen = {"input_padded": network.prepare(images)}
        hooks = [module.register_forward_hook(hook) for module, hook in watchers(network, seen)]
        with torch.no_grad():
            stages = network.decoder(network.features(images), all_stages=True)
        for hook in hooks:
            hook.remove()
        for index, stage in enumerate(stages):
            seen |= {f"mask_s{index}": stage.mask_logits, f"cls_s{index}": stage.class_logits}
        return seen

    return run


def watchers(network, seen):
    """Yield (module, hook) pairs that record the landmarks inside aggregator and decoder."""

    def record(*names):
        def hook(module, inputs, output):
            seen.update(zip(names, output if isinstance(output, list | tuple) else [output], strict=False))

        return hook

    aggregator = network.aggregator
    yield network.backbone, record("res2", "res3", "res4", "res5")
    for number, up in enumerate(reversed(aggregator.pyramid.ups), start=1):
        yield up.conv.offset, record(f"neck.deform{number}.offset_raw")
        yield up.conv, record(f"neck.deform{number}.dcn")
        yield up, record(f"neck.deform{number}.out")
    yield aggregator.pyramid, record("neck.x2", "neck.x3", "neck.x4", "neck.x5")
    for level, conv in enumerate(aggregator.aggregate.convs, start=2):
        yield conv, record(f"neck.a{level}")
    yield aggregator.aggregate, record("neck.sum")
    yield aggregator.output, record("neck.deconv")
    yield aggregator, record("neck")
    for number, stage in enumerate(network.decoder.stages, start=1):
        yield from stage_watchers(f"s{number}", stage, seen, record)


def stage_watchers(name, stage, seen, record):
    """Yield the pairs of one decoder stage; the official tensors have axes of length one that ours lack."""

    def attended(module, inputs, output):
        seen[f"{name}.s_atten"] = output[0].transpose(0, 1)

    def refined(module, inputs, output):
        seen[f"{name}.ffn_norm"] = output.unsqueeze(2)
        seen[f"objfeat_{name}"] = output[..., None, None]

    def kernels(module, inputs, output):
        seen[f"{name}.mask_kernels"] = output.unsqueeze(2)

    def entered(module, inputs, output):
        seen[f"{name}.k_in"], seen[f"{name}.f_sum"] = inputs

    first, second = stage.blocks
    yield first, entered
    yield first.attention, record(f"{name}.f_atten")
    yield first, record(f"{name}.f_norm")
    yield second.attention, record(f"{name}.k_atten")
    yield second, record(f"{name}.k_norm")
    yield stage.post.attention, attended
    yield stage.post.attention_norm, record(f"{name}.s_norm")
    yield stage.post.feedforward_norm, refined
    yield stage.mask_branch, kernels


@pytest.mark.parametrize("name", ["neck", "s1.k_in", "cls_s2"])
def test_a_comparison_notices_a_wrong_value_and_a_wrong_shape(name, figures, landmarks):
    official, tensor = figures("forward_coco_a"), landmarks("coco_a", torch.float32)[name]
    wrong = tensor.detach().clone()
    wrong.flatten()[0] += 1e-3 * tensor.abs().max()
    with pytest.raises(AssertionError, match=f"{name}: differs by 1.0e-03"):
        official.check(name, wrong, 5e-5)
    with pytest.raises(AssertionError):
        official.check(name, tensor.flatten())


@pytest.mark.parametrize(("forward", "name"), LANDMARKS)
def test_landmark(forward, name, figures, landmarks):
    """In float64 the arithmetic is the same on every machine, so this says that it is the official one."""
    figures(f"forward_{forward}").check(name, landmarks(forward, torch.float64)[name])


@pytest.mark.parametrize(("forward", "name"), LANDMARKS)
def test_landmark_in_single_precision(forward, name, figures, landmarks):
    """Both sides are rounded now, each by up to 1.4e-5 measured, differently on each machine and number of threads."""
    figures(f"forward_{forward}").check(name, landmarks(forward, torch.float32)[name], 2 * TOLERANCE)


@pytest.mark.parametrize("forward", FORWARDS)
def test_segments_of_the_whole_network(forward, landmarks):
    """From image to segments: ids, classes and pixels of the official implementation."""
    figures = Figures.read(GOLDEN / f"forward_{forward}.npz").entries
    config = json.loads((GOLDEN / "postprocess.json").read_text())[forward.split("_")[0]]
    is_thing = [index in config["thing_ids"] for index in range(config["num_classes"])]
    compared = 0
    for image, about in enumerate(json.loads((GOLDEN / "forward_meta.json").read_text())[f"forward_{forward}"]):
        size = (about["h"], about["w"])
        sizes = Sizes((64, 96), size, (about["height"] or size[0], about["width"] or size[1]))
        outputs = landmarks(forward, torch.float32)
        logits = outputs["cls_s2"][image], outputs["mask_s2"][image]
        for index, official in enumerate(about["results"]):
            thresholds = Thresholds(official["object_mask_threshold"], official["overlap_threshold"])
            result = panoptic(*logits, sizes, is_thing, thresholds)
            found = [(segment.id, segment.class_index) for segment in result.segments]
            assert found == [(segment["id"], segment["category_id"]) for segment in official["segments_info"]]
            # Two pixels of Cityscapes' second image are ties in float64, which rounding decides.
            differing = np.count_nonzero(result.segmentation.numpy() != figures[f"panoptic_{image}_t{index}"])
            assert differing <= (2 if forward == "cityscapes_c" else 0)
            compared += 1
    assert compared == 5 * len(Figures(figures, {}).images)


ATTENTION_KEYS = {
    "DySepConvAtten": ("sdca", "weight_linear.weight", "weight_linear.bias", "norm.weight", "norm.bias"),
    "DyConvAtten": ("dca", "f_linear.weight", "f_linear.bias", "f_norm.weight", "f_norm.bias"),
    "DyDepthwiseConvAtten": ("ddca", "weight_linear.weight", "weight_linear.bias", "norm.weight", "norm.bias"),
    "DyPointwiseConvAtten": ("pdca", "weight_linear.weight", "weight_linear.bias", "norm.weight", "norm.bias"),
    "MultiHeadCrossAtten": (
        "mhca",
        *("atten.in_proj_weight", "atten.in_proj_bias", "atten.out_proj.weight", "atten.out_proj.bias"),
        *("f_norm.weight", "f_norm.bias"),
    ),
}


@pytest.mark.parametrize("queries", [100, 150])
@pytest.mark.parametrize("official", ATTENTION_KEYS)
def test_attention(official, queries, figures):
    kind, *keys = ATTENTION_KEYS[official]
    module = ATTENTIONS[kind](ModelConfig(num_queries=queries)).eval()
    state = module.state_dict()
    prefix = "yoso_head.mask_heads.0.f_atten."
    names = {our_name(prefix + key, 1).removeprefix("decoder.stages.0.blocks.0.attention."): key for key in keys}
    weights = {ours: fill(f"{official}.{key}", state[ours].shape) for ours, key in names.items()}
    module.load_state_dict({ours: torch.from_numpy(values) for ours, values in weights.items()})
    query, value = (
        torch.from_numpy((1.7 * uniform(f"att.{letter}.{queries}", 2 * queries * 256)).astype(np.float32))
        for letter in "qv"
    )
    with torch.no_grad():
        result = module(query.reshape(2, queries, 256), value.reshape(2, queries, 256))
    figures("attention").check(f"{official}.{queries}", result)
