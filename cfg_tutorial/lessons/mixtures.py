"""Checks of the exercises of 01_mixtures: guidance, label dropout, a curve from nothing."""

import functools
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import diffusion, guidance
from cfg_tutorial.lessons.exercise import all_like, exercise, number, tensor_like
from cfg_tutorial.models import GaussianMixture


def _shift(step: float) -> Callable:
    return lambda cond, uncond, scale: guidance.guide(cond, uncond, scale + step)


@exercise(
    guidance.guide,
    {
        "The two predictions have changed places: your scale 1 is unconditional, your scale 0 "
        "conditional.": lambda cond, uncond, scale: cond + scale * (uncond - cond),
        "Wrong sign: the greater your scale, the farther you go from the conditional "
        "prediction.": lambda cond, uncond, scale: uncond - scale * (cond - uncond),
        "Off by one: your scale 0 is conditional already. That is the paper's w; here 0 means "
        "unconditional and 1 conditional.": _shift(1),
        "Off by one: your scale 1 is unconditional still. You took 1 from a scale that counts "
        "from the unconditional end.": _shift(-1),
        "Your two weights do not sum to 1: where both predictions agree, guidance must change "
        "nothing.": lambda cond, uncond, scale: scale * cond + (scale - 1) * uncond,
        "You scale the conditional prediction, not its difference from the unconditional "
        "one.": lambda cond, uncond, scale: uncond + scale * cond,
        "The scale does nothing yet.": lambda cond, uncond, scale: cond,
    },
)
def guide(answer: Any) -> Tensor:
    """Check ``fn(cond, uncond, scale) -> Tensor``, the guided prediction; scale a float."""
    cond = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    uncond = torch.tensor([[0.2, 0.7], [-1.5, 2.0]])
    found = [answer(cond.clone(), uncond.clone(), scale) for scale in (0.0, 1.0, 2.5, -0.5)]
    return all_like(found, cond)


def _in_place(label: Tensor, p_uncond: float, null_label: int) -> Tensor:
    label[torch.rand(len(label)) < p_uncond] = null_label
    return label


def _always_the_first(label: Tensor, p_uncond: float, null_label: int) -> Tensor:
    dropped = torch.arange(len(label)) < p_uncond * len(label)
    return label.masked_fill(dropped, null_label)


@exercise(
    diffusion.drop_labels,
    {
        "One coin for the whole batch: either all of it loses its labels or none of it. Each row "
        "needs its own coin.": lambda label, p, null: (
            torch.full_like(label, null) if torch.rand(()) < p else label
        ),
        "You keep a label with probability p_uncond; that is how often it should be "
        "dropped.": lambda label, p, null: diffusion.drop_labels(label, 1 - p, null),
        "Dropped rows become class 0, and class 0 has samples of its own. They should become "
        "null_label.": lambda label, p, null: diffusion.drop_labels(label, p, 0),
        "Dropped rows become -1, which no network has an embedding for. They should become "
        "null_label.": lambda label, p, null: diffusion.drop_labels(label, p, -1),
        "It is the same rows every time: they would never be seen with their label. Toss a coin "
        "for each.": _always_the_first,
        "Right numbers, but the labels that came in are changed too: the caller's batch has lost "
        "them for good.": _in_place,
        "No label is dropped yet.": lambda label, p, null: label,
        "Every label is dropped: p_uncond is not used.": lambda label, p, null: torch.full_like(
            label, null
        ),
    },
)
def drop_labels(answer: Any) -> Tensor:
    """Check ``fn(label, p_uncond, null_label) -> Tensor (n,)``: what it does over 40 batches."""
    given = torch.arange(3).repeat(1000)
    label = given.clone()
    drawn = []
    for _ in range(40):
        drawn.append(tensor_like(answer(label, 0.2, 3), given).long())
        untouched = torch.equal(label, given)
        label = given.clone()
    changed = torch.stack(drawn) != given
    share = changed.double().mean(1)
    new = torch.stack(drawn)[changed].double()
    same_rows = bool((changed == changed[0]).all())
    whole = bool(((share == 0) | (share > 0.6) & (share == share.max())).all()) and not same_rows
    return torch.tensor(
        [
            -1.0 if whole else round(share.mean().item(), 1),
            new.mean().item() if len(new) else 0.0,
            float(same_rows),
            float(untouched),
        ]
    )


def _right_guided(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return guidance.guided(model, scale)(x, level, label)


def _always_two(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    null = torch.full_like(label, model.null_label)
    cond, uncond = model(x, level, label), model(x, level, null)
    return guidance.guide(cond, uncond, scale)


def _two_at_zero(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return model(x, level, label) if scale == 1 else _always_two(model, x, level, label, scale)


def _two_at_one(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    if scale == 0:
        return model(x, level, torch.full_like(label, model.null_label))
    return _always_two(model, x, level, label, scale)


def _wrong_order(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    return _right_guided(model, x, level, label, 1 - scale)


def _null_is_zero(model: Any, x: Tensor, level: Tensor, label: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return model(x, level, label)
    uncond = model(x, level, torch.zeros_like(label))
    return uncond if scale == 0 else guidance.guide(model(x, level, label), uncond, scale)


@exercise(
    _right_guided,
    {
        "The numbers are right, but at scales 0 and 1 you run both branches: count the rows that "
        "the network has to do there.": _always_two,
        "The numbers are right, but at scale 1 you pay for a branch that you do not "
        "use.": _two_at_one,
        "The numbers are right, but at scale 0 you pay for a branch that you do not "
        "use.": _two_at_zero,
        "The branches come in the wrong order: your scale 1 is the prediction without a "
        "label.": _wrong_order,
        "Your branch without a label asks for class 0. Each model says which label means none: "
        "model.null_label.": _null_is_zero,
        "Off by one: that is the paper's w, which is 0 where our scale is "
        "1.": lambda model, x, level, label, scale: _right_guided(
            model, x, level, label, scale + 1
        ),
        "The scale does nothing yet.": lambda model, x, level, label, scale: model(x, level, label),
    },
)
def guided(answer: Any) -> Tensor:
    """Check ``fn(model, x, level, label, scale) -> Tensor``, and the rows that the model ran."""
    (model, x, label), level = _toy(), torch.tensor(0.8)
    seen: list[Tensor] = []
    for scale in (0.0, 1.0, 3.0):
        model.rows_run = 0
        found = tensor_like(answer(model, x, level, label, scale), x).flatten()
        seen += [found, found.new_tensor([model.rows_run])]
    return torch.cat(seen)


def _tilt(one: float, other: float, scale: float) -> float:
    return 1 / (scale / one + (1 - scale) / other)


def _orders(scale: float, sigma: float) -> tuple[float, float]:
    noise = sigma**2
    return _tilt(1 + noise, 2 + noise, scale), _tilt(1, 2, scale) + noise


@exercise(
    _orders,
    {
        "The two have changed places: the first is noised and then tilted.": lambda s, sigma: (
            _orders(s, sigma)[::-1]
        ),
        "You mix variances. Where densities are multiplied, precisions (1 / variance) "
        "add.": lambda s, sigma: (
            s * (1 + sigma**2) + (1 - s) * (2 + sigma**2),
            s + (1 - s) * 2 + sigma**2,
        ),
        "These are precisions: their inverses are the variances.": lambda s, sigma: tuple(
            1 / one for one in _orders(s, sigma)
        ),
        "Noise of standard deviation sigma adds its variance, which is not "
        "sigma.": lambda s, sigma: _orders(s, sigma**0.5),
        "Your second law has no noise yet: it was tilted first, and the noise is added "
        "after.": lambda s, sigma: (_orders(s, sigma)[0], _tilt(1, 2, s)),
        "Your first law has no noise: both Gaussians are noised before they are "
        "tilted.": lambda s, sigma: (_tilt(1, 2, s), _orders(s, sigma)[1]),
        "You leave out the law without a class: it counts with the power 1 - "
        "scale.": lambda s, sigma: ((1 + sigma**2) / s, 1 / s + sigma**2),
        "The powers have changed places: the class has scale, the law without one 1 - "
        "scale.": lambda s, sigma: _orders(1 - s, sigma),
    },
)
def two_orders(answer: Any) -> Tensor:
    """Check ``fn(scale, sigma) -> (variance, variance)``: noised then tilted, and the reverse."""
    asked = [(1.5, 0.0), (1.5, 0.5), (3.0, 1.0), (3.0, 2.0)]
    return torch.stack([number(one) for pair in asked for one in _pair(answer(*pair))])


def _pair(found: Any) -> Any:
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise TypeError("it should return two numbers, (noised then tilted, tilted then noised)")
    return found


def _euler(
    model: Any, x: Tensor, sigmas: Tensor, label: Tensor, at: int = 0, sign: float = 1.0
) -> Tensor:
    for pair in pairwise(sigmas):
        sigma, sigma_next = pair
        eps = (x - model(x, pair[at].clamp(min=1e-6), label)) / sigma
        x = x + sign * (sigma_next - sigma) * eps
    return x


def _asked_once(model: Any, x: Tensor, sigmas: Tensor, label: Tensor) -> Tensor:
    x0, start = model(x, sigmas[0], label), x
    for sigma, sigma_next in pairwise(sigmas):
        start = x0 + sigma_next / sigma * (start - x0)
    return start


def _steps_of_x0(model: Any, x: Tensor, sigmas: Tensor, label: Tensor) -> Tensor:
    for sigma in sigmas[:-1]:
        x = model(x, sigma, label)
    return x


@exercise(
    _euler,
    {
        "You stop before the last step, which leads to sigma 0: what is returned still has "
        "noise.": lambda model, x, sigmas, label: _euler(model, x, sigmas[:-1], label),
        "The model is asked once, or takes one step from the first sigma to 0. Ask it again at "
        "each step, with the x of then.": _asked_once,
        "The model is told the noise level that a step leads to. Tell it the one that x "
        "has.": functools.partial(_euler, at=1),
        "Wrong direction: the noise grows. sigma_next is smaller than sigma.": functools.partial(
            _euler, sign=-1.0
        ),
        "You jump to the clean guess at each step. Move only some way towards it: keep the noise "
        "that is left.": _steps_of_x0,
        "Nothing is done yet: x comes back as it was.": lambda model, x, sigmas, label: x,
    },
)
def own_sampler(answer: Any) -> Tensor:
    """Check ``fn(model, x, sigmas, label) -> Tensor``, Euler's last state."""
    model, x, label = _toy()
    sigmas = torch.tensor([3.0, 1.4, 0.6, 0.2, 0.0])
    return tensor_like(answer(model, 3 * x, sigmas, label), x)


@exercise(
    guidance.guided,
    {
        "The two predictions have changed places: your scale 1 is the one without a "
        "class.": lambda model, scale: guidance.guided(model, 1 - scale),
        "Off by one: your scale 0 is the model with its class. Here 0 means without one, and 1 "
        "with it.": lambda model, scale: guidance.guided(model, scale + 1),
        "Your branch without a class asks for class 0. Each model says which label means none: "
        "model.null_label.": lambda model, scale: (
            lambda x, level, label: guidance.guide(
                model(x, level, label), model(x, level, 0 * label), scale
            )
        ),
        "You scale the prediction of the class, and not the difference of the "
        "two.": lambda model, scale: (
            lambda x, level, label: (
                guidance.guided(model, 0.0)(x, level, label) + scale * model(x, level, label)
            )
        ),
        "The scale does nothing yet: this is the model as it was.": lambda model, scale: model,
    },
)
def own_guidance(answer: Any) -> Tensor:
    """Check ``fn(model, scale) -> model``, a function (x, level, label) of the guided model."""
    model, x, label = _toy()
    found = []
    for scale in (0.0, 1.0, 3.0):
        guided_model = answer(model, scale)
        if not callable(guided_model):
            raise TypeError("it should return a function of (x, level, label): define one inside")
        found.append(guided_model(x, torch.tensor(0.8), label))
    return all_like(found, x)


def _toy() -> tuple[GaussianMixture, Tensor, Tensor]:
    laws = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    model = GaussianMixture([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], [0.1] * 3, laws)
    return model, torch.tensor([[0.3, 0.1], [-0.4, 1.0], [0.2, 0.6]]), torch.tensor([0, 1, 1])


def _covers(enough: Callable, whole: Callable = lambda mode: (mode >= 0).sum()) -> Callable:
    def share(mode: Tensor, weights: Tensor) -> Tensor:
        counts = mode[mode >= 0].bincount(minlength=len(weights))
        return enough(counts, weights * whole(mode)).double().mean()

    return share


@exercise(
    _covers(lambda counts, due: counts >= due / 4),
    {
        "One sample is enough for you: a mode that should have hundreds is not covered by "
        "one.": _covers(lambda counts, due: counts > 0),
        "You ask each mode for its whole share: a quarter of it is enough.": _covers(
            lambda counts, due: counts >= due
        ),
        "You count the points of no mode (-1) among the samples that the shares are of.": _covers(
            lambda counts, due: counts >= due / 4, len
        ),
        "The points of no mode (-1) are counted as points of the last mode.": lambda mode, w: (
            _covers(lambda counts, due: counts >= due / 4)(mode % len(w), w)
        ),
        "These are the modes that are missing.": _covers(lambda counts, due: counts < due / 4),
        "This is the number of covered modes, not their share.": lambda mode, weights: (
            len(weights) * _covers(lambda counts, due: counts >= due / 4)(mode, weights)
        ),
    },
)
def own_coverage(answer: Any) -> Tensor:
    """Check ``fn(mode, weights) -> float``, the share of modes that are covered."""
    weights = torch.tensor([0.5, 0.25, 0.2, 0.05], dtype=torch.float64)
    rows = [[30, 6, 1, 3, 40], [40, 2, 0, 0, 10], [10, 9, 2, 2, 20], [70, 0, 3, 1, 0]]
    modes = [torch.tensor([0, 1, 2, 3, -1]).repeat_interleave(torch.tensor(row)) for row in rows]
    return torch.stack([number(answer(mode, weights.clone())) for mode in modes])
