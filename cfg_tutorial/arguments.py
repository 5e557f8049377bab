"""What may be passed: one ``require`` and the checks that several rooms share. Knows nothing else.

Every check returns its argument in the form that the package computes with, or raises a ValueError
that names the argument, what was expected and what came.
"""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def require(ok: Any, where: str, name: str, expected: str, got: Any) -> None:
    """Raise a ValueError that names what is wrong, unless ``ok``.

    Parameters
    ----------
    where : the function that was called
    name : its parameter, or several, separated by ", "
    expected : what it must be, in words, or all of it: "must have rows"
    got : the value, or a text about it; a function of none that returns this, where it costs time
    """
    if ok:
        return
    *first, last = (f"'{one}'" for one in name.split(", "))
    names = f"{', '.join(first)} and {last} parameters" if first else f"{last} parameter"
    got = got() if callable(got) else got
    said = expected if expected.startswith("must ") else f"must be {expected}"
    raise ValueError(f"The {names} of {where} {said}. Got {got} instead.")


def check_tensor(value: Any, where: str, name: str, expected: str, dtype: Any = None) -> Tensor:
    """Return ``value`` as a tensor, or raise a ValueError where it holds no numbers."""
    try:
        return torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        require(False, where, name, expected, repr(value)[:80])
        raise


def is_whole(values: Tensor) -> bool:
    """Return whether the values are integers, whatever their number of bits."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def described(values: Tensor) -> str:
    """Return the type and shape of a tensor in words."""
    return f"{values.dtype} of shape {tuple(values.shape)}"


def check_law(
    weights: Any, where: str, name: str, expected: str, columns: int | None = None
) -> Tensor:
    """Return ``weights`` (rows, columns) as float64, each row a law: >= 0, with a sum of 1."""
    weights = check_tensor(weights, where, name, expected, torch.float64)
    ok = weights.ndim == 2 and columns in (None, weights.shape[-1]) and bool((weights >= 0).all())
    ok = ok and bool(((weights.sum(1) - 1).abs() < 1e-5).all())
    require(ok, where, name, expected, lambda: shown(weights))
    return weights


def shown(values: Tensor) -> str:
    """Return the shape of a tensor and its first values in words."""
    return f"shape {tuple(values.shape)}, {str(values.tolist())[:60]},"


def check_int(value: Any, where: str, name: str, expected: str = "an int") -> int:
    """Return ``value`` as an int, of numpy's or torch's kinds too, or raise a ValueError."""
    try:
        return operator.index(value)
    except TypeError:
        require(False, where, name, expected, repr(value))
        raise


def check_count(value: Any, where: str, name: str) -> int:
    """Return ``value`` as an int >= 1, or raise a ValueError."""
    number = check_int(value, where, name, "an int >= 1")
    require(number >= 1, where, name, "an int >= 1", number)
    return number


def check_several(values: Any, where: str, name: str) -> list[Any]:
    """Return ``values`` as a list, or raise a ValueError where they are one or none."""
    ok = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    several = [*values] if ok else []
    require(several, where, name, "one or more, in a list", lambda: repr(values)[:80])
    return several


def check_filled(x: Any, where: str, name: str = "x") -> None:
    """Raise a ValueError where x has no rows."""
    require(len(x), where, name, "must have rows", lambda: f"shape {tuple(x.shape)}")


def check_scale(value: Any, name: str = "guidance_scale", where: str = "guided") -> Tensor:
    """Return ``value`` as a 0-d or (n,) real, finite tensor, or raise a ValueError."""
    try:
        exact = torch.float64 if isinstance(value, float | int) else None
        scale = torch.as_tensor(value, dtype=exact)
        real = not scale.is_complex() and scale.ndim < 2 and bool(torch.isfinite(scale).all())
    except (TypeError, ValueError, RuntimeError):
        real = False
    expected = "a finite real number, a (n,) tensor of them, or a callable of the level"
    require(real, where, name, expected, lambda: repr(value))
    return scale


def check_label(label: Any, n: int, highest: int | Tensor | None, where: str) -> Tensor:
    """Return ``label`` as int64, (n,) or (n, k), from 0 to ``highest``.

    One label, () or (k,), stands for all rows. A plain function does not say which labels it knows:
    ``highest`` is then None, and any from 0 on will do.

    Raises
    ------
    ValueError : wrong type, wrong number of rows, or a class that is not known
    """
    # A guided model is here at each of its steps: what is said is put together where it is said.
    if not isinstance(label, Tensor):
        label = check_tensor(label, where, "label", f"integers from 0 to {_last(highest)}")
    parts = label.shape[1:] if highest is None else getattr(highest, "shape", ())
    if label.shape == parts:
        label = label.expand(n, *parts)
    if not (is_whole(label) and label.shape == (n, *parts)):
        expected = f"an integer tensor of shape {(n, *parts)}"
        require(False, where, "label", expected, described(label))
    if label.numel():
        least, most = (one.tolist() for one in (label.aminmax(dim=0) if parts else label.aminmax()))
        if not _between(least, most, highest):
            found = f"{label.min().item()} to {label.max().item()}"
            require(False, where, "label", f"from 0 to {_last(highest)}", found)
    return label.long()  # of uint8 a mask would be made, no index


def _between(least: Any, most: Any, highest: Any) -> bool:
    """Return whether numbers, or lists of one for each part of a label, are from 0 to highest."""
    if isinstance(least, list):
        each = [None] * len(least) if highest is None else torch.as_tensor(highest).tolist()
        return all(map(_between, least, most, each))
    return least >= 0 and (highest is None or most <= int(highest))


def _last(highest: int | Tensor | None) -> Any:
    return "any number" if highest is None else torch.as_tensor(highest).tolist()


def check_rows(rows: Tensor | None, n: int, where: str) -> Tensor:
    """Return ``rows`` as (n,) ints >= 0, arange(n) unless given, or raise a ValueError."""
    expected = f"{n} ints >= 0"
    rows = torch.arange(n) if rows is None else check_tensor(rows, where, "rows", expected)
    ok = rows.shape == (n,) and is_whole(rows) and not bool((rows < 0).any())
    require(ok, where, "rows", expected, lambda: described(rows))
    return rows.long()


def check_levels(levels: Tensor, name: str, where: str) -> Tensor:
    """Return ``levels`` (k + 1,), which decrease strictly and end in 0, or raise a ValueError."""
    falls = levels.ndim == 1 and len(levels) > 1 and bool((levels.diff() < 0).all())
    ok = falls and levels[-1] == 0 and bool(torch.isfinite(levels).all())
    require(ok, where, name, "must decrease strictly and end in 0", lambda: levels.tolist())
    return levels


def check_tokens(tokens: Any, model: Any, where: str) -> Tensor:
    """Return ``tokens`` (n, length), each a word of the model's, its mask or its padding.

    Raises
    ------
    ValueError : no integers, no rows, no places, or a token that the model does not know
    """
    expected = "integers of shape (n, length), both at least 1"
    tokens = check_tensor(tokens, where, "tokens", expected)
    ok = is_whole(tokens) and tokens.ndim == 2 and tokens.numel() > 0
    require(ok, where, "tokens", expected, lambda: described(tokens))
    special = {model.mask_token, getattr(model, "pad_token", None)} - {None}
    known = (tokens >= 0) & (tokens < model.vocab_size)
    for token in special:
        known |= tokens == token
    expected = f"below {model.vocab_size} or one of {sorted(special)} (mask, padding)"
    require(known.all(), where, "tokens", expected, lambda: tokens[~known][0].item())
    return tokens.long()
