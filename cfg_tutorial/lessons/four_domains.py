"""Checks of the exercises of 05_four_domains: effective modes, the tilted law. Knows no domain."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import measures
from cfg_tutorial.lessons.exercise import all_like, exercise, number


def _share(counts: Tensor) -> Tensor:
    return counts / counts.sum()


def _entropy(counts: Tensor) -> Tensor:
    return torch.special.entr(_share(counts)).sum()


@exercise(
    measures.effective_modes,
    {
        "This is the entropy. Its exponential is a number of modes.": _entropy,
        "Wrong sign: your number falls as the modes become more even.": lambda counts: (
            -_entropy(counts)
        ).exp(),
        "You count the modes that have a sample, however few.": lambda counts: (
            (counts > 0).double().sum()
        ),
        "You mix two bases: natural logarithms go with exp, logarithms to base 2 with powers of "
        "2.": lambda counts: 2 ** _entropy(counts),
        "You mix two bases: logarithms to base 2 do not go with exp.": lambda counts: (
            _entropy(counts) / torch.tensor(2.0).log()
        ).exp(),
        "This is 1 over the sum of squared shares: another number of modes, which makes less of "
        "rare ones. Use the entropy.": lambda counts: 1 / _share(counts).square().sum(),
        "You divide by the number of modes: 8 even modes should give 8.": lambda counts: (
            _entropy(counts).exp() / len(counts)
        ),
    },
)
def effective_modes(answer: Any) -> Tensor:
    """Check ``fn(counts) -> float``, exp of the entropy of the modes' shares; counts may be 0."""
    rows = [[50, 30, 15, 5], [25, 25, 25, 25], [90, 10, 0, 0], [7, 0, 0, 0]]
    return torch.stack([number(answer(torch.tensor(row, dtype=torch.float64))) for row in rows])


def _law(weight: Callable) -> Callable:
    return lambda cond, uncond, scale: _share(weight(cond, uncond, scale))


@exercise(
    _law(lambda cond, uncond, scale: cond**scale * uncond ** (1 - scale)),
    {
        "Your law does not sum to 1.": lambda cond, uncond, scale: (
            cond**scale * uncond ** (1 - scale)
        ),
        "The two laws have changed places: your scale 1 is unconditional.": _law(
            lambda cond, uncond, scale: uncond**scale * cond ** (1 - scale)
        ),
        "Off by one: your scale 0 is the class's law already.": _law(
            lambda cond, uncond, scale: cond ** (1 + scale) * uncond**-scale
        ),
        "You left out the unconditional law: this sharpens the class, and does not ask what sets "
        "it apart.": _law(lambda cond, uncond, scale: cond**scale),
        "Both laws have a positive exponent: what is common everywhere should lose, not win.": (
            _law(lambda cond, uncond, scale: cond**scale * uncond)
        ),
        "You mix the laws themselves; guidance mixes their logarithms.": _law(
            lambda cond, uncond, scale: (scale * cond + (1 - scale) * uncond).clamp(min=0)
        ),
        "The scale does nothing yet.": lambda cond, uncond, scale: cond,
    },
)
def tilted(answer: Any) -> Tensor:
    """Check ``fn(cond, uncond, scale) -> Tensor (k,)``, the tilted law; no weight is 0."""
    cond = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    uncond = torch.tensor([0.3, 0.2, 0.2, 0.3], dtype=torch.float64)
    found = [answer(cond.clone(), uncond.clone(), scale) for scale in (0.0, 1.0, 2.5)]
    return all_like(found, cond)
