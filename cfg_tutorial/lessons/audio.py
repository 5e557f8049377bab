"""Checks of the exercises of 04_audio: pitch, and guidance by several labels. Knows no sound."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.lessons.exercise import all_like, exercise, tensor_like


@exercise(
    lambda heard, wanted: 1200 * (heard / wanted).log2(),
    {
        "You return the difference in hertz: the same interval has more hertz higher up.": (
            lambda heard, wanted: heard - wanted
        ),
        "Upside down: what is too high should have a positive number.": (
            lambda heard, wanted: 1200 * (wanted / heard).log2()
        ),
        "An octave is a factor of 2: you took the natural logarithm.": (
            lambda heard, wanted: 1200 * (heard / wanted).log()
        ),
        "An octave is a factor of 2: you took the logarithm to base 10.": (
            lambda heard, wanted: 1200 * (heard / wanted).log10()
        ),
        "You return semitones; a semitone has 100 cents.": (
            lambda heard, wanted: 12 * (heard / wanted).log2()
        ),
        "You return octaves; an octave has 1,200 cents.": (
            lambda heard, wanted: (heard / wanted).log2()
        ),
        "You count 100 cents an octave; it has 12 semitones of 100.": (
            lambda heard, wanted: 100 * (heard / wanted).log2()
        ),
        "You lose the sign: too low is negative.": (
            lambda heard, wanted: (1200 * (heard / wanted).log2()).abs()
        ),
        "You return per cent of the frequency: equal steps in pitch are equal factors.": (
            lambda heard, wanted: 100 * (heard / wanted - 1)
        ),
    },
    tolerance=0.05,
)
def cents(answer: Any) -> Tensor:
    """Check ``fn(heard, wanted) -> Tensor (n,)``, cents between frequencies (n,) in hertz."""
    wanted = torch.tensor([523.25, 587.33, 880.0, 440.0])
    heard = wanted * 2 ** (torch.tensor([13.0, -35.0, 1200.0, -702.0]) / 1200)
    return tensor_like(answer(heard.clone(), wanted.clone()), wanted)


def _steps(scaled: Callable, start: float = 1.0) -> Callable:
    return lambda uncond, conds, scales: start * uncond + scaled(uncond, conds, scales)


def _sum_of_steps(shift: float = 0.0) -> Callable:
    return lambda uncond, conds, scales: sum(
        (scale + shift) * (cond - uncond) for cond, scale in zip(conds, scales, strict=True)
    )


def _sum_of_conds(uncond: Tensor, conds: list[Tensor], scales: list[float]) -> Any:
    return sum(scale * cond for cond, scale in zip(conds, scales, strict=True))


@exercise(
    _steps(_sum_of_steps()),
    {
        "You return the steps alone: they start from the unconditional prediction.": _steps(
            _sum_of_steps(), 0.0
        ),
        "You sum the conditional predictions, not their differences from the unconditional "
        "one.": _steps(_sum_of_conds),
        "You subtract the unconditional prediction once; each label has a step of its "
        "own.": _sum_of_conds,
        "Off by one: with scale 1 for one label and 0 for the others, the answer is that label's "
        "prediction.": _steps(_sum_of_steps(-1.0)),
        "Wrong sign: a positive scale leads away from its label.": _steps(
            lambda *asked: -_sum_of_steps()(*asked)
        ),
        "You take the mean over the labels: a second label must not weaken the first.": _steps(
            lambda uncond, conds, scales: _sum_of_steps()(uncond, conds, scales) / len(scales)
        ),
        "You divide by the sum of the scales: two labels would be worth no more than one.": _steps(
            lambda uncond, conds, scales: _sum_of_steps()(uncond, conds, scales) / sum(scales)
        ),
        "You use the first label only.": _steps(
            lambda uncond, conds, scales: scales[0] * (conds[0] - uncond)
        ),
    },
)
def composed(answer: Any) -> Tensor:
    """Check ``fn(uncond, conds, scales) -> Tensor``, guidance by several labels; lists of k."""
    uncond = torch.tensor([[0.2, 0.7], [-1.5, 2.0]])
    conds = [uncond + torch.tensor([1.0, -2.0]), uncond + torch.tensor([0.5, 3.0])]
    found = [answer(uncond.clone(), list(conds), scales) for scales in ([1.5, 0.7], [2.0, -0.5])]
    return all_like(found, uncond)
