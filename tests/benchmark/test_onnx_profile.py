"""Whose time an event of ONNX Runtime's profile is."""

import pytest

from yoso.benchmark.onnx_profile import stage_of


@pytest.mark.parametrize(
    ("event", "stage"),
    [
        ("backbone/node_conv2d_3_kernel_time", "backbone"),
        ("merge/Softmax_1_kernel_time", "merge"),
        ("merge/Scan_64_kernel_time", "merge"),
        ("merge/Scan_64/Sigmoid_3_kernel_time", None),
        ("backbone/node_conv2d_3_fence_before", None),
        ("Reorder_kernel_time", None),
        ("other/Add_1_kernel_time", None),
        ("model_run", None),
    ],
)
def test_an_event_counts_once(event, stage):
    assert stage_of(event) == stage
