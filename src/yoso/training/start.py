"""Fine-tuning: the weights of a finished model become the start of a run, on its own classes or on others."""

from yoso.categories import Categories
from yoso.model.checkpoint import load_model
from yoso.model.yoso import YOSO

MOST_NAMES = 8


def start_from(network: YOSO, start: str, categories: Categories) -> str:
    """Take over a model's weights.

    The class head, the last layer of every stage's class branch, keeps its fresh weights if the model has other
    classes, be they as many: class 3 there is not class 3 here. All else is taken over where name and shape agree.

    Args:
        network: the receiver, freshly initialised.
        start: the model; see `find_model`.
        categories: of the data set.

    Returns:
        One line for people: what was taken over, and what is fresh and why.

    Raises:
        CheckpointError: see `load_model`.
    """
    source = load_model(start)
    same = classes(source.categories) == classes(categories)
    head = class_head(network)
    fresh = take_over(network, source.network, set() if same else head)
    total = len(network.state_dict())
    line = f"start: {total - len(fresh)} of {total} tensors are those of {start}"
    if not same:
        line += (
            f"; its {len(source.categories)} classes ({_listed(source.categories)}) are not the {len(categories)} of "
            f"the data ({_listed(categories)}), so the class head is new"
        )
    others = sorted(set(fresh) - head)
    if others:
        line += f"; new because they do not fit: {', '.join(others[:3])}"
        line += f" and {len(others) - 3} more" if len(others) > 3 else ""
    return line


def classes(categories: Categories) -> list[tuple[str, bool]]:
    """Return what the class indices mean; ids and colours may differ between files of the same classes."""
    return [(category.name, category.is_thing) for category in categories]


def class_head(network: YOSO) -> set[str]:
    """Return the names of the tensors whose rows are classes."""
    last = 3 * network.config.branch_depth  # each hidden layer is three modules
    return {
        f"decoder.stages.{index}.class_branch.{last}.{kind}"
        for index in range(network.config.num_stages)
        for kind in ("weight", "bias")
    }


def take_over(network: YOSO, source: YOSO, without: set[str] | None = None) -> list[str]:
    """Copy every tensor of `source` whose name and shape agree; return the names of those left fresh.

    Args:
        network: the receiver.
        source: the giver.
        without: names that are not copied.
    """
    state = network.state_dict()
    fitting = {
        key: value
        for key, value in source.state_dict().items()
        if key in state and state[key].shape == value.shape and key not in (without or set())
    }
    network.load_state_dict(fitting, strict=False)
    return sorted(state.keys() - fitting.keys())


def _listed(categories: Categories) -> str:
    names = ", ".join(categories.names[:MOST_NAMES])
    return names + (", ..." if len(categories) > MOST_NAMES else "")
