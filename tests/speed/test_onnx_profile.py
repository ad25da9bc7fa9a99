"""Whose time an event of ONNX Runtime's profile is."""

import pytest

from yoso.speed.onnx_profile import shares


def events(**durations):
    return [{"name": name.replace("__", "/"), "dur": microseconds} for name, microseconds in durations.items()]


@pytest.mark.parametrize(
    "ignored",
    ["backbone/node_conv2d_3_fence_before", "Reorder_kernel_time", "other/Add_1_kernel_time", "model_run"],
)
def test_what_has_no_stage_counts_for_none(ignored):
    found = events(backbone__node_conv2d_3_kernel_time=30, merge__Softmax_1_kernel_time=10)
    assert shares([*found, {"name": ignored, "dur": 1000}], 0.0) == {"backbone": 0.75, "merge": 0.25}


def test_a_loop_counts_once_and_without_the_recording_of_what_is_in_it():
    found = [
        *events(backbone__node_conv2d_3_kernel_time=60, merge__Scan_64_kernel_time=60),
        *events(merge__Scan_64__Sigmoid_3_kernel_time=30, merge__Scan_64__Add_4_kernel_time=20),
    ]
    assert shares(found, 0.0) == {"backbone": 0.5, "merge": 0.5}
    # 10 microseconds for four events, two of them in the loop.
    assert shares(found, 10.0) == {"backbone": 60 / 115, "merge": 55 / 115}
    # What runs in the loop took its time, whatever was recorded.
    assert shares(found, 1e6) == {"backbone": 60 / 110, "merge": 50 / 110}
