"""Checks of the exercises of 04_audio: pitch, and guidance by several labels. Knows no sound."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.lessons.exercise import all_like, exercise, number, tensor_like


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
        "You leave the null branch out: each label's step starts from it.": _sum_of_conds,
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


def _weights(null: Callable) -> Callable:
    return lambda scales: torch.tensor([null(scales), *scales])


@exercise(
    _weights(lambda scales: 1 - sum(scales)),
    {
        "Your null branch has the weight 1, as if no step led away from it: the weights must sum "
        "to 1.": _weights(lambda scales: 1.0),
        "Your null branch forgets that it is also the start of the sum, not only what each step "
        "subtracts.": _weights(lambda scales: -sum(scales)),
        "Each label has a step of its own; your null branch pays for the first alone.": _weights(
            lambda scales: 1 - scales[0]
        ),
        "Your null branch has its sign turned round.": _weights(lambda scales: sum(scales) - 1),
        "The null branch has no place in your sum: the weights of the labels alone need not sum "
        "to 1.": _weights(lambda scales: 0.0),
        "The null branch comes first, the labels after it.": lambda scales: torch.tensor(
            [*scales, 1 - sum(scales)]
        ),
        "Off by one: a label whose scale is 0 should have no weight.": lambda scales: torch.tensor(
            [1 - sum(scales) + len(scales), *(scale - 1 for scale in scales)]
        ),
        "You divide the steps by their number: a second label must not weaken the "
        "first.": lambda scales: _weights(lambda some: 1 - sum(some))(
            [scale / len(scales) for scale in scales]
        ),
        "You divide by the sum of the scales: with scales 1 and 1 each label keeps a whole "
        "step.": lambda scales: _weights(lambda some: 0.0)([s / sum(scales) for s in scales]),
    },
)
def branch_weights(answer: Any) -> Tensor:
    """Check ``fn(scales) -> Tensor (k + 1,)``, the weights of the branches, the null one first."""
    found = [answer(list(scales)) for scales in ([1.5, 0.7], [2.0, -0.5], [0.25, 0.5])]
    return all_like(found, torch.zeros(3))


def _owned(own: Callable, counted: Callable = lambda mode: mode[mode >= 0]) -> Callable:
    return lambda mode, law, other: own(law, other)[counted(mode)].double().mean()


def _both(law: Tensor, other: Tensor) -> Tensor:
    return (law > 0) & (other > 0)


@exercise(
    _owned(_both),
    {
        "Invalid clips (-1) are read as the last phrase: leave them out before you look "
        "up.": _owned(_both, lambda mode: mode),
        "Invalid clips count in your total: the share is of the valid ones.": (
            lambda mode, law, other: _both(law, other)[mode[mode >= 0]].sum() / len(mode)
        ),
        "You count phrases that either style owns; both must own them.": _owned(
            lambda law, other: (law > 0) | (other > 0)
        ),
        "You count what the first style owns, and do not ask the second.": _owned(
            lambda law, other: law > 0
        ),
        "You count what the second style owns, and do not ask the first.": _owned(
            lambda law, other: other > 0
        ),
        "These are the clips whose phrase the styles do not share.": _owned(
            lambda law, other: ~_both(law, other)
        ),
        "This is a number of clips, not their share.": (
            lambda mode, law, other: _both(law, other)[mode[mode >= 0]].double().sum()
        ),
        "You count phrases, not clips: a phrase that is heard twice counts twice.": (
            lambda mode, law, other: _both(law, other).double().mean()
        ),
        "You ask each phrase that was heard once: twice heard is two clips.": _owned(
            _both, lambda mode: mode[mode >= 0].unique()
        ),
        "To be owned, a share above 0 is enough: it need not be the same in both laws.": _owned(
            lambda law, other: (law > 0) & (law == other)
        ),
    },
)
def shared_share(answer: Any) -> Tensor:
    """Check ``fn(mode, law, other) -> number``: mode (n,), -1 invalid, and two laws (k,)."""
    law = torch.tensor([0.4, 0.2, 0.0, 0.1, 0.0, 0.2, 0.1])
    other = torch.tensor([0.0, 0.3, 0.4, 0.1, 0.0, 0.0, 0.2])
    mode = torch.tensor([0, 1, 5, -1, 2, 3, 0, 0, -1, 2, 6, 1, 5])
    return number(answer(mode.clone(), law.clone(), other.clone()))
