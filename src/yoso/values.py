"""Numbers, flags and ids as other tools write them into JSON: 7.0 for 7, "1" for true.

A number in quotes is no number, because nobody knows whether "007" is 7; a flag in quotes is a flag, because Python and
JavaScript would take every text for true, "0" too.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from yoso.errors import DatasetError

ImageId = int | str

_FLAGS = {"0": False, "1": True, "false": False, "true": True}


def whole(value: Any) -> int | None:
    """Return a whole number, also one that is written as 7.0 or is numpy's; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def number_within(value: Any, most: float) -> bool:
    """Tell whether a value is a number from -`most` to `most`; NaN is none, nor are true and false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def fault_in(value: Any, shape: Any, where: str = "the document") -> str | None:
    """Return the first place at which a JSON value does not have a shape, for messages; None if it has.

    Args:
        value: any JSON value.
        shape: a type; a function that tells whether a value will do; a list of one shape, for lists of such values; or
            a mapping of shapes by key, for objects that have these keys and any others. A key that ends in `?` may be
            missing.
        where: the name of the value.
    """
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return f"{where} is not an object"
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in value:
                if fault := fault_in(value[name], inner, f"{where}: {name}"):
                    return fault
            elif name == key:
                return f"{where} has no {name!r}"
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        faults = (fault_in(one, shape[0], f"{where}, entry {index}") for index, one in enumerate(value))
        return next((fault for fault in faults if fault), None)
    holds = isinstance(value, shape) if isinstance(shape, type) else shape(value)
    return None if holds else f"{where} has a value of the wrong type"


def flag(value: Any) -> bool | None:
    """Return true or false for true, false, 1 or 0, in quotes or not and in any case; None for anything else."""
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    is_known = isinstance(value, bool | np.bool_ | int | float | np.integer) and value in (0, 1)
    return bool(value) if is_known else None


def image_id(value: Any) -> ImageId | None:
    """Return an image's id, a whole number or a text; None for anything else."""
    return value if isinstance(value, str) else whole(value)


def read_iscrowd(segment: Mapping[str, Any], where: str, advice: str = "write 0 or 1") -> bool:
    """Say whether a segment is a crowd; one without `iscrowd` is not.

    Args:
        segment: with its `id`.
        where: file and image, for messages.
        advice: how a message ends.

    Raises:
        DatasetError: `iscrowd` is neither true nor false.
    """
    is_crowd = flag(segment.get("iscrowd", 0))
    if is_crowd is None:
        said = f"{where}: segment {segment.get('id')} has iscrowd {segment['iscrowd']!r}, neither 0 nor 1"
        raise DatasetError(f"{said}; {advice}")
    return is_crowd


def mismatched_type(key: ImageId, known: Mapping[ImageId, Any]) -> str:
    """Return what a message adds if an id is missing only because it is a number here and a text there; else nothing.

    Args:
        key: an image id that is not in `known`.
        known: what is there, by image id.
    """
    other = str(key) if isinstance(key, int) else int(key) if key.isdecimal() else None
    return f" (there is {other!r}; write both as numbers or both as text)" if other in known else ""
