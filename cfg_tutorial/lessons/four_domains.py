"""Checks of the exercises of 05_four_domains: effective modes, the tilted law. Knows no domain."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import measures
from cfg_tutorial.lessons.exercise import all_like, exercise, number, tensor_like
from cfg_tutorial.models import tilted_law


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


def _rows(first: Callable, second: Callable) -> Callable:
    return lambda p: torch.stack([_share(first(p)), _share(second(p))])


@exercise(
    _rows(lambda p: p, lambda p: 1 - p),
    {
        "These are still p(class | mode): each column sums to 1. Each row should, over the "
        "modes.": lambda p: torch.stack([p, 1 - p]),
        "Your rows sum to 1/2: this is how often class and mode come together. Divide by how often "
        "the class comes.": lambda p: torch.stack([p, 1 - p]) / len(p),
        "The two classes have changed places: row 0 is class 0.": _rows(
            lambda p: 1 - p, lambda p: p
        ),
        "Your class 1 is class 0 in reverse order. What does p say of the other class?": _rows(
            lambda p: p, lambda p: p.flip(0)
        ),
        "You take 1 minus the weights of class 0. It is the probabilities of the two classes, in "
        "one mode, that sum to 1.": lambda p: torch.stack([_share(p), 1 - _share(p)]),
        "Both rows are class 0.": _rows(lambda p: p, lambda p: p),
        "Your rows are inverse weights: a mode that speaks for a class should have more of "
        "it.": _rows(lambda p: 1 / p, lambda p: 1 / (1 - p)),
    },
)
def own_law(answer: Any) -> Tensor:
    """Check ``fn(p) -> Tensor (2, k)``, the weights of two equal classes; p averages to 1/2."""
    rows = [[0.9, 0.5, 0.4, 0.2], [0.2, 0.7, 0.8, 0.6, 0.2]]
    given = [torch.tensor(row, dtype=torch.float64) for row in rows]
    found = [tensor_like(answer(p.clone()), torch.stack([p, p])) for p in given]
    return torch.cat([weights.flatten() for weights in found])


@exercise(
    lambda weights, scale: measures.effective_modes(tilted_law(weights, scale, 0)),
    {
        "This is the entropy. Its exponential is a number of modes.": lambda weights, scale: (
            _entropy(tilted_law(weights, scale, 0))
        ),
        "This is the share that is left of the modes at scale 1. Return their "
        "number.": lambda weights, scale: (
            measures.effective_modes(tilted_law(weights, scale, 0))
            / measures.effective_modes(weights[0])
        ),
        "You divide by the number of modes: return how many are left, not which share of "
        "them.": lambda weights, scale: (
            measures.effective_modes(tilted_law(weights, scale, 0)) / weights.shape[1]
        ),
        "The law without a class is the mean of both classes. You put the other class in its "
        "place.": lambda weights, scale: measures.effective_modes(
            _share(weights[0] ** scale * weights[1] ** (1 - scale))
        ),
        "You left out the law without a class: this sharpens class 0, and does not ask what sets "
        "it apart.": lambda weights, scale: measures.effective_modes(_share(weights[0] ** scale)),
        "The two laws have changed places: your scale 1 has no class.": lambda weights, scale: (
            measures.effective_modes(tilted_law(weights, 1 - scale, 0))
        ),
        "Off by one: your scale 0 is the class's law already.": lambda weights, scale: (
            measures.effective_modes(tilted_law(weights, scale + 1, 0))
        ),
        "This is class 1. Class 0 was asked for.": lambda weights, scale: measures.effective_modes(
            tilted_law(weights, scale, 1)
        ),
        "The scale does nothing yet.": lambda weights, scale: measures.effective_modes(weights[0]),
    },
)
def modes_left(answer: Any) -> Tensor:
    """Check ``fn(weights, scale) -> float``, effective modes of class 0 by the tilted law."""
    rows = [[[0.5, 0.3, 0.15, 0.05], [0.1, 0.1, 0.3, 0.5]], [[0.2, 0.2, 0.6], [0.3, 0.5, 0.2]]]
    given = [torch.tensor(row, dtype=torch.float64) for row in rows]
    return torch.stack([number(answer(w.clone(), s)) for w in given for s in (0.0, 1.0, 3.0)])


def _borders(
    danger: Callable = lambda before, after: torch.maximum(before, after),
    of: int = 1,
    closed: bool = True,
    own: bool = True,
    least: bool = False,
) -> Callable:
    """Return fn(weights) -> the mode with most danger from its neighbours' weights in a class."""

    def most(weights: Tensor) -> Tensor:
        before, after = weights[of].roll(1), weights[of].roll(-1)
        if not closed:
            before[0] = after[-1] = 0
        found = danger(before, after)
        asked = weights[0] > weights[1] if own else torch.ones_like(found, dtype=torch.bool)
        if least:
            return found.masked_fill(~asked, torch.inf).argmin()
        return found.masked_fill(~asked, -torch.inf).argmax()

    return most


def _its_neighbour(weights: Tensor) -> Tensor:
    k, at = weights.shape[1], int(_borders()(weights))
    return torch.tensor(max((at - 1) % k, (at + 1) % k, key=lambda j: float(weights[1, j])))


def _in_itself(weights: Tensor) -> Tensor:
    return weights[1].masked_fill(weights[0] <= weights[1], -torch.inf).argmax()


@exercise(
    _borders(),
    {
        "The ring is closed: the first mode and the last one are neighbours.": _borders(
            closed=False
        ),
        "You ask all modes. Ask those alone that class 0 has more often than class 1.": _borders(
            own=False
        ),
        "You look at the next mode alone. Each mode has two neighbours.": _borders(
            lambda before, after: after
        ),
        "You look at the mode before alone. Each mode has two neighbours.": _borders(
            lambda before, after: before
        ),
        "You add the two neighbours up. Take the heavier one of the two.": _borders(
            lambda before, after: before + after
        ),
        "You weigh the neighbours in class 0. The danger comes from class 1.": _borders(of=0),
        "This is the safest mode: its neighbours weigh least in class 1.": _borders(least=True),
        "You weigh the mode itself in class 1, and not its neighbours.": _in_itself,
        "This is the neighbour that is the danger. Name the mode beside it.": _its_neighbour,
    },
)
def endangered(answer: Any) -> Tensor:
    """Check ``fn(weights) -> int``, class 0's mode beside the heaviest neighbour of class 1."""
    generator = torch.Generator().manual_seed(0)
    given = [torch.tensor([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64)]
    given.append(given[0].flip(0))
    for k in (5, 6, 8, 8, 8, 8, 8, 8):
        given.append(0.2 + 0.6 * torch.rand(k, generator=generator, dtype=torch.float64))
    laws = map(_rows(lambda p: p, lambda p: 1 - p), given)
    return torch.stack([number(answer(weights)) for weights in laws])
