"""The numbers that a lesson expects of its own cells. Knows no lesson."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cfg_tutorial.arguments import require


def expect(**ranges: Any) -> None:
    """Say which variables of the calling cell are out of their range, and nothing when none is.

    ``ct.expect(modes=(2.0, 3.3))`` reads the variable ``modes``. Results differ a little from
    machine to machine and seed to seed, so that a lesson promises ranges, and no digits.

    Parameters
    ----------
    ranges : name of a variable -> (low, high), both included, for it or each number in it (a list,
        tensor, dict or pandas.Series); or a dict of these, {key: (low, high)}, one for each key

    Raises
    ------
    ValueError : no variable of that name, no number in it, or no range
    """
    frame = sys._getframe(1)
    known = {**frame.f_globals, **frame.f_locals}
    for name, expected in ranges.items():
        require(name in known, "expect", name, "the name of a variable", "none of that name")
        for said, value, (low, high) in _each(name, known[name], expected):
            if not low <= value <= high:
                print(f"Unexpected: {said} is {value:.3g}, not from {low:g} to {high:g}.")


def _each(name: str, value: Any, expected: Any) -> Iterator[tuple[str, float, tuple[Any, Any]]]:
    """Yield each number with what it is called and its range."""
    if isinstance(expected, Mapping):
        for key, one in expected.items():
            yield from _each(f"{name}[{key!r}]", value[key], one)
        return
    ok = isinstance(expected, tuple) and len(expected) == 2 and expected[0] <= expected[1]
    require(ok, "expect", name, "(low, high), or a dict of these", repr(expected))
    if getattr(value, "ndim", 0) == 0 and not isinstance(value, list | tuple | Mapping):
        yield name, float(value), expected
        return
    values = value.items() if hasattr(value, "items") else enumerate(value)
    for key, one in values:
        yield from _each(f"{name}[{key!r}]", one, expected)
