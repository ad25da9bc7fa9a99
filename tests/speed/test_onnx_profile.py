"""Which stage an event of ONNX Runtime's profile belongs to."""

import pytest

from yoso.speed.onnx_profile import shares_of_events


def events(**durations):
    return [{"name": name.replace("__", "/"), "dur": microseconds} for name, microseconds in durations.items()]


@pytest.mark.parametrize(
    "ignored",
    ["backbone/node_conv2d_3_fence_before", "Reorder_kernel_time", "other/Add_1_kernel_time", "model_run"],
)
def test_an_event_without_a_stage_is_ignored(ignored):
    found = events(backbone__node_conv2d_3_kernel_time=30, merge__Softmax_1_kernel_time=10)
    assert shares_of_events([*found, {"name": ignored, "dur": 1000}], 0.0) == {"backbone": 0.75, "merge": 0.25}


def test_a_loop_counts_once_and_without_the_overhead_of_recording_its_events():
    found = [
        *events(backbone__node_conv2d_3_kernel_time=60, merge__Scan_64_kernel_time=60),
        *events(merge__Scan_64__Sigmoid_3_kernel_time=30, merge__Scan_64__Add_4_kernel_time=20),
    ]
    assert shares_of_events(found, 0.0) == {"backbone": 0.5, "merge": 0.5}
    # 10 microseconds for four events, two of them in the loop.
    assert shares_of_events(found, 10.0) == {"backbone": 60 / 115, "merge": 55 / 115}
    # The loop takes at least as long as the events inside it, whatever the overhead.
    assert shares_of_events(found, 1e6) == {"backbone": 60 / 110, "merge": 50 / 110}
