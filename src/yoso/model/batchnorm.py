"""Folding BatchNorm into convolutions, for the deployment form; in a backbone, with constant 'same' padding too."""

import warnings
from typing import TypeGuard

import torch
from jaxtyping import Float
from timm.layers import Conv2dSame
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm


def folded(
    weight: Float[Tensor, "D ..."], bias: Float[Tensor, " D"] | None, norm: _BatchNorm
) -> tuple[Float[Tensor, "D ..."], Float[Tensor, " D"]]:
    """Return weight and bias of the one convolution that equals a convolution followed by a BatchNorm.

    Args:
        weight: output channels first.
        bias: of the convolution, if it has one.
        norm: the BatchNorm; its running statistics are used.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = (torch.zeros_like(mean) if bias is None else bias) - mean
    shift = shift * scale if norm.bias is None else shift * scale + norm.bias
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift


@torch.no_grad()
def fold_backbone(net: nn.Module) -> nn.Module:
    """Fold every BatchNorm of a backbone into the convolution before it, if nothing else reads that convolution.

    A backbone that torch.fx cannot trace is returned unfolded: slower, but correct.

    Args:
        net: a timm feature extractor in evaluation mode, for images whose sides are multiples of 32; it is changed.

    Returns:
        The folded network.
    """
    _make_same_padding_constant(net)
    if not any(_foldable_norm(module) for module in net.modules()):
        return net
    tracer = _Tracer()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what tracing ignores; `_fold_node` folds only what is certain
            graph = tracer.trace(net)
    except Exception:  # tracing can fail with any exception
        return net
    traced = fx.GraphModule(net, graph)
    for node in list(graph.nodes):
        _fold_node(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class _Tracer(fx.Tracer):
    """Treats convolutions and norms as leaves, including timm's own classes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Keep convolutions and norms whole, because these are folded."""
        return isinstance(m, nn.Conv2d | _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


def _foldable_norm(module: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _fold_node(traced: fx.GraphModule, node: fx.Node) -> None:
    """Fold the norm that a node calls into the convolution before it, if nothing else reads that convolution."""
    norm = _module(traced, node)
    source = node.args[0] if node.args else None
    if not _foldable_norm(norm) or not isinstance(source, fx.Node) or len(source.users) > 1:
        return
    conv = _module(traced, source)
    if not isinstance(conv, nn.Conv2d) or sum(_module(traced, other) is conv for other in traced.graph.nodes) > 1:
        return
    weight, bias = folded(conv.weight, conv.bias, norm)
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    # The norms of timm include an activation, those of torch do not.
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    rest = [module for module in rest if not isinstance(module, nn.Identity)]
    if rest:
        parent, _, name = str(node.target).rpartition(".")
        setattr(traced.get_submodule(parent), name, nn.Sequential(*rest))
    else:
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _make_same_padding_constant(net: nn.Module) -> None:
    """Replace convolutions that compute 'same' padding from the input's size by ones with constant padding.

    If the stride divides the size, as it does here, 'same' padding is always kernel - stride, the smaller half first.
    """
    for name, module in list(net.named_modules()):
        if isinstance(module, Conv2dSame):
            parent, _, last = name.rpartition(".")
            setattr(net.get_submodule(parent), last, _with_constant_padding(module))


def _with_constant_padding(same: Conv2dSame) -> nn.Module:
    sides = zip(same.kernel_size, same.stride, same.dilation, strict=True)
    totals = [max(0, (kernel - 1) * dilation + 1 - stride) for kernel, stride, dilation in sides]
    conv = nn.Conv2d(
        same.in_channels,
        same.out_channels,
        same.kernel_size,  # pyrefly: ignore[bad-argument-type]
        same.stride,  # pyrefly: ignore[bad-argument-type]
        dilation=same.dilation,  # pyrefly: ignore[bad-argument-type]
        groups=same.groups,
        bias=same.bias is not None,
    ).eval()
    conv.weight, conv.bias = same.weight, same.bias
    if all(total % 2 == 0 for total in totals):
        conv.padding = (totals[0] // 2, totals[1] // 2)
        return conv
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)
