"""Fine-tuning: what is taken over, what is new, and that this is said."""

from dataclasses import replace

import pytest
import torch

from official_file import SMALL
from yoso.categories import Categories, Category
from yoso.errors import CheckpointError
from yoso.model.checkpoint import load_model
from yoso.model.yoso import YOSO
from yoso.training.start import class_head, start_from


def categories(*names, things=1):
    return Categories([Category(10 + index, name, index < things, (index, 0, 0)) for index, name in enumerate(names)])


@pytest.fixture
def source(tiny_model):
    return load_model(tiny_model)


def fresh(source, num_classes, **changes):
    torch.manual_seed(5)
    return YOSO(replace(source.network.config, **changes), num_classes)


def compare(network, source):
    """Return the names of the tensors that are not the source's."""
    state = source.network.state_dict()
    return {
        key
        for key, value in network.state_dict().items()
        if value.shape != state[key].shape or not torch.equal(value, state[key])
    }


@pytest.mark.parametrize("names", [("dog", "grass"), ("dog", "cat", "grass"), ("square", "ground", "sky")])
def test_other_classes_make_a_new_class_head_and_keep_the_rest(names, source, tiny_model):
    network = fresh(source, len(names))
    before = {key: network.state_dict()[key].clone() for key in class_head(network)}
    line = start_from(network, str(tiny_model), categories(*names))
    assert class_head(network) == {f"decoder.stages.0.class_branch.3.{kind}" for kind in ("weight", "bias")}
    assert compare(network, source) <= class_head(network)
    for key, value in before.items():
        assert torch.equal(network.state_dict()[key], value)
    assert "\n" not in line
    total = len(network.state_dict())
    assert line == (
        f"start: {total - 2} of {total} tensors are those of {tiny_model}; its 3 classes (square, sky, ground) are not "
        f"the {len(names)} of the data ({', '.join(names)}), so the class head is new"
    )


def test_the_same_classes_keep_everything(source, tiny_model):
    network = fresh(source, 3)
    line = start_from(network, str(tiny_model), categories("square", "sky", "ground"))  # ids and colours differ
    assert compare(network, source) == set()
    total = len(network.state_dict())
    assert line == f"start: {total} of {total} tensors are those of {tiny_model}"


def test_a_thing_that_became_stuff_is_another_class(source, tiny_model):
    assert "the class head is new" in start_from(
        fresh(source, 3), str(tiny_model), categories("square", "sky", "ground", things=2)
    )


def test_every_stage_has_a_class_head(source):
    assert len(class_head(fresh(source, 3, num_stages=2))) == 4


def test_many_classes_are_not_all_named(source, tiny_model):
    names = [f"class{number}" for number in range(20)]
    line = start_from(fresh(source, 20), str(tiny_model), categories(*names))
    assert "the 20 of the data (class0, class1, " in line
    assert "class7, ...)" in line
    assert "class8" not in line


def test_what_does_not_fit_is_said_too(source, tiny_model):
    network = fresh(source, 2, feedforward_channels=8)
    line = start_from(network, str(tiny_model), categories("dog", "grass"))
    names = [f"decoder.stages.0.post.feedforward.{name}" for name in ("0.bias", "0.weight", "2.weight")]
    assert line.endswith(f", so the class head is new; new because they do not fit: {', '.join(names)}")
    line = start_from(fresh(source, 2, hidden_channels=32), str(tiny_model), categories("dog", "grass"))
    assert line.endswith(" more")


def test_an_unknown_start(source):
    with pytest.raises(CheckpointError, match="Did you mean 'coco-r50'"):
        start_from(fresh(source, 2), "coco-r5", categories("dog", "grass"))


def test_a_published_name_is_a_start(mirror):
    network = YOSO(SMALL.model, 3)
    line = start_from(network, "coco-r50", categories("dog", "cat", "grass"))
    assert "are those of coco-r50; its 2 classes (car, sky) are not the 3 of the data (dog, cat, grass)" in line
    assert [path for path, _ in mirror.requests] == ["/yoso_res50_coco.pth"]
    bias = load_model("coco-r50").network.decoder.proposals.bias
    assert torch.equal(network.decoder.proposals.bias, bias)
