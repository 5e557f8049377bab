"""Checks of the exercises of 00_start_here: scales and lost modes. Knows no samplers, no domain."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import measures
from cfg_tutorial.lessons.exercise import exercise, number

CONVENTIONS = ("ours", "Ho & Salimans", "diffusers", "EDM2", "MusicGen", "LLaDA")


_FROM_ZERO = ("Ho & Salimans", "LLaDA")  # there 0 is conditional


def _converted(from_zero: tuple[str, ...], step: float = 1.0) -> Callable:
    return lambda value, source, target: (
        value + step * ((source in from_zero) - (target in from_zero))
    )


@exercise(
    _converted(_FROM_ZERO),
    {
        "The number is the same in all conventions: two of them count from another zero.": (
            lambda value, source, target: value
        ),
        "Wrong sign: the paper's 0 is conditional, and that is 1 here.": _converted(
            _FROM_ZERO, -1.0
        ),
        "LLaDA counts as the paper does: look at its row of the table.": _converted(
            ("Ho & Salimans",)
        ),
        "You convert LLaDA's scale and not that of Ho & Salimans.": _converted(("LLaDA",)),
        "You take diffusers' scale for the paper's w: it is the s of this package.": _converted(
            ("Ho & Salimans", "LLaDA", "diffusers")
        ),
        "You look at where the number comes from, and not at where it goes to.": (
            lambda value, source, target: value + (source in _FROM_ZERO)
        ),
        "You look at where the number goes to, and not at where it comes from.": (
            lambda value, source, target: value - (target in _FROM_ZERO)
        ),
        "You change the number even when both conventions are the same.": (
            lambda value, source, target: (
                value + (1 if source in _FROM_ZERO else -1 if target in _FROM_ZERO else 0)
            )
        ),
    },
)
def convert_scale(answer: Any) -> Tensor:
    """Check ``fn(value, source, target) -> float``, a scale in another of CONVENTIONS."""
    asked = [(v, a, b) for v in (0.0, 3.5) for a in CONVENTIONS for b in CONVENTIONS]
    return torch.stack([number(answer(*one)) for one in asked])


def _covered(least: Callable, own: Callable = lambda weights: weights > 0) -> Callable:
    def share(counts: Tensor, weights: Tensor) -> Tensor:
        kept = own(weights)
        return (counts >= least(counts, weights))[kept].double().mean()

    return share


def _quarter(counts: Tensor, weights: Tensor) -> Tensor:
    return 0.25 * counts.sum() * weights


@exercise(
    measures.mode_coverage,
    {
        "One sample is enough for you: a mode that should have hundreds is not covered by "
        "one.": _covered(lambda counts, weights: torch.ones_like(weights)),
        "You ask each mode for its whole share. By chance alone half of them would miss it: a "
        "quarter is enough.": _covered(lambda counts, weights: counts.sum() * weights),
        "You ask all modes for the same number: a rare mode needs fewer samples than a common "
        "one.": _covered(lambda counts, weights: 0.25 * counts.sum() / len(weights)),
        "You count modes that the class does not have: their weight is 0.": _covered(
            _quarter, lambda weights: weights > -1
        ),
        "You divide by all modes: those of weight 0 are not the class's.": lambda c, w: (
            ((c >= _quarter(c, w)) & (w > 0)).double().mean()
        ),
        "This is the number of covered modes, not their share.": lambda c, w: (
            ((c >= _quarter(c, w)) & (w > 0)).double().sum()
        ),
        "A mode with exactly as many samples as it needs is covered.": lambda c, w: (
            (c > _quarter(c, w))[w > 0].double().mean()
        ),
        "You add up the weights of the covered modes: each mode counts once here, however rare "
        "it is.": lambda c, w: w[c >= _quarter(c, w)].sum(),
        "These are the modes that are missing.": lambda c, w: (
            (c < _quarter(c, w))[w > 0].double().mean()
        ),
    },
)
def mode_coverage(answer: Any) -> Tensor:
    """Check ``fn(counts, weights) -> float``, the share of a class's modes that are covered."""
    weights = torch.tensor([0.5, 0.25, 0.125, 0.125, 0.0], dtype=torch.float64)
    rows = [[48, 4, 1, 8, 3], [52, 0, 2, 2, 8], [20, 12, 6, 26, 0], [64, 0, 0, 0, 0]]
    counts = torch.tensor(rows, dtype=torch.float64)
    return torch.stack([number(answer(one, weights.clone())) for one in counts])
