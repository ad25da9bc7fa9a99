"""The balance of a conversion, and when it says that the export itself is at fault."""

import pytest

from yoso.data.formats.counts import (
    NOT_NORMALIZED,
    AnnotationCounts,
    AnnotationError,
    Losses,
    check_counts,
    check_images,
    read_each,
)
from yoso.errors import DatasetError


def counted(written, **dropped):
    counts = AnnotationCounts(written + sum(dropped.values()), written)
    for reason, count in dropped.items():
        counts.dropped.add(reason, f"the first {reason}", count)
    return counts


def test_counts_add_up_and_the_first_example_stays():
    counts = counted(3, thin=1)
    counts.add(counted(2, thin=4, far=2))
    counts.merge("covered", 2)
    counts.read += 2
    assert counts.read == counts.written + counts.num_merged + counts.dropped.total == 14
    assert counts.dropped["thin"] == (5, "the first thin")
    assert [reason for reason, _ in counts.dropped.ordered()] == ["thin", "far"]
    assert AnnotationCounts.from_json(counts.to_json()) == counts


def test_an_annotation_that_fails_is_counted_with_its_place_and_values():
    def take(value):
        if value < 0:
            raise AnnotationError("negative", f"value {value}")

    counts = AnnotationCounts()
    read_each([("line 1", 4), ("line 2", -7), ("line 3", -8)], counts, take)
    assert counts.read == 3
    assert counts.dropped == {"negative": (2, "line 2 (value -7)")}


def test_an_export_of_which_half_has_a_systematic_fault_is_refused():
    counts = AnnotationCounts(10, 5)
    counts.dropped.add(NOT_NORMALIZED, "a.txt, line 1", 5)
    with pytest.raises(DatasetError, match=f"farm: 5 of 10 annotations cannot be used: {NOT_NORMALIZED}"):
        check_counts(counts, "farm")
    counts.read, counts.written = 11, 6
    check_counts(counts, "farm")


def test_an_export_without_any_segment_is_refused():
    check_counts(counted(1, thin=99), "farm")
    check_counts(counted(0), "farm")
    with pytest.raises(DatasetError, match=r"farm: 2 of 3 annotations cannot be used: thin \(first: the first thin\)"):
        check_counts(counted(0, far=1, thin=2), "farm")


def test_an_export_of_which_half_of_the_images_cannot_be_used_is_refused():
    skipped = Losses()
    check_images(skipped, 0, "farm")
    skipped.add("missing image", "a.jpg", 2)
    skipped.add("other", "b.jpg")
    check_images(skipped, 7, "farm")
    with pytest.raises(DatasetError, match=r"farm: 2 of 6 images cannot be used: missing image \(first: a\.jpg\)"):
        check_images(skipped, 6, "farm")
