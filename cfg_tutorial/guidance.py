"""Guidance: turns a model into a guided model. Knows nothing of networks, noise or data.

Sorted in order of increasing complexity.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Scale = float | Tensor | Callable[[Tensor], Any]

# A scale this near to 0 or 1 is meant to be 0 or 1: 0.1 * 10 must not pay for two branches.
ROUNDING = 1e-6

# What a model says of itself, and the same model guided says too.
SHOWN = ("num_classes", "null_label", "p_uncond", "mask_token", "pad_token", "vocab_size")


def per_row(value: float | Tensor, like: Tensor) -> Any:
    """Return ``value`` in the type of ``like`` (n, ...), a (n,) value as (n, 1, ...)."""
    if isinstance(value, float | int):
        return value
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value


def level_beside(x: Tensor, level: Any) -> Tensor:
    """Return ``level`` as a tensor on x's device, of x's type; beside tokens its own, if real."""
    if x.is_floating_point():
        return torch.as_tensor(level, dtype=x.dtype, device=x.device)
    level = torch.as_tensor(level, device=x.device)
    return level if level.is_floating_point() else level.to(torch.get_default_dtype())


def guide(cond: Tensor, uncond: Tensor, scale: float | Tensor) -> Tensor:
    """Combine a conditional and an unconditional prediction: ``uncond + scale (cond - uncond)``.

    Parameters
    ----------
    cond, uncond : Tensor (n, ...), finite predictions in the same units (x0, or log-probabilities)
    scale : float or Tensor (n,), 0 unconditional, 1 conditional, above 1 guided

    Source: Ho & Salimans 2022 (arXiv 2207.12598); their w is ``scale - 1``. Written as an
    interpolation it is exact at 0 and at 1, which the sum above is not. Lesson: 01_mixtures.
    """
    return uncond.lerp(cond, per_row(scale, cond))


class Schedule:
    """A guidance scale that depends on the level, and the levels (``edges``) where it jumps."""

    def __init__(self, at: Callable[[Tensor], Tensor], edges: tuple[float, ...] = ()):
        self.at, self.edges = at, edges

    def __call__(self, level: Tensor) -> Tensor:
        return self.at(level)


def interval(scale: float | Tensor, lo: float = 0.0, hi: float = math.inf) -> Schedule:
    """Return the schedule that is ``scale`` for lo < level <= hi and 1 elsewhere.

    Parameters
    ----------
    scale : float or Tensor (n,)
    lo, hi : float, in units of the level (sigma, or the masked fraction)

    Raises
    ------
    ValueError : ``scale`` is not finite and real, or not 0 <= lo < hi

    Source: Kynkaanniemi et al. 2024 (arXiv 2404.07724). Lesson: 01_mixtures.
    """
    scale = check_scale(scale, "scale", "interval")
    if not 0 <= lo < hi:
        raise ValueError(
            "The 'lo' and 'hi' parameters of interval must be 0 <= lo < hi. "
            f"Got {lo}, {hi} instead."
        )

    def at(level: Tensor) -> Tensor:
        low, high = (torch.as_tensor(edge, dtype=level.dtype) for edge in (lo, hi))
        return torch.where((low < level) & (level <= high), scale.to(level), 1.0)

    return Schedule(at, tuple(edge for edge in (lo, hi) if 0 < edge < math.inf))


def ramp(
    start: float | Tensor, end: float | Tensor, hi: float, lo: float, rho: float = 7.0
) -> Schedule:
    """Return the schedule that goes from ``start`` at level hi to ``end`` at lo, constant beyond.

    Parameters
    ----------
    start, end : float or Tensor (n,)
    hi, lo : float, levels, hi > lo >= 0
    rho : float, the ramp is linear in level^(1/rho); 7 for sigma, 1 for tokens

    Raises
    ------
    ValueError : ``start`` or ``end`` is not finite and real, not 0 <= lo < hi, or rho <= 0

    Source: after Wang et al. 2024 (arXiv 2404.13040). Lesson: 01_mixtures.
    """
    start, end = check_scale(start, "start", "ramp"), check_scale(end, "end", "ramp")
    if not (0 <= lo < hi < math.inf and rho > 0):
        raise ValueError(
            "The 'hi', 'lo' and 'rho' parameters of ramp must be 0 <= lo < hi < inf and rho > 0. "
            f"Got hi={hi}, lo={lo}, rho={rho} instead."
        )
    top, bottom = hi ** (1 / rho), lo ** (1 / rho)

    def at(level: Tensor) -> Tensor:
        done = ((top - level ** (1 / rho)) / (top - bottom)).clamp(0, 1)
        return start.to(level) + done * (end.to(level) - start.to(level))

    return Schedule(at)


def check_scale(value: Any, name: str = "guidance_scale", where: str = "guided") -> Tensor:
    """Return ``value`` as a 0-d or (n,) real, finite tensor, or raise a ValueError."""
    try:
        exact = torch.float64 if isinstance(value, float | int) else None
        scale = torch.as_tensor(value, dtype=exact)
        real = not scale.is_complex() and scale.ndim < 2 and bool(torch.isfinite(scale).all())
    except (TypeError, ValueError, RuntimeError):
        real = False
    if not real:
        raise ValueError(
            f"The '{name}' parameter of {where} must be a finite real number, a (n,) tensor of "
            f"them, or a callable of the level. Got {value!r} instead."
        )
    return scale


def _rounded(scale: Tensor) -> float | Tensor:
    """Return a scale, 0-d as a number, with all within ROUNDING of 0 or 1 made just that."""
    if not scale.ndim:
        value = float(scale.detach())
        near = [exact for exact in (0.0, 1.0) if abs(value - exact) < ROUNDING]
        return near[0] if near else value
    nearest = scale.round().clamp(0, 1)
    return torch.where((scale - nearest).abs() < ROUNDING, nearest, scale)


def check_label(label: Any, n: int, highest: int | Tensor, where: str) -> Tensor:
    """Return ``label`` as an integer tensor (n,), or (n, k), from 0 to ``highest``.

    One label, () or (k,), stands for all rows.

    Raises
    ------
    ValueError : wrong type, wrong number of rows, or a class that is not known
    """
    label, top = torch.as_tensor(label), torch.as_tensor(highest)
    if label.shape == top.shape:
        label = label.expand(n, *top.shape)
    whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
    if not whole or label.shape != (n, *top.shape):
        raise ValueError(
            f"The 'label' parameter of {where} must be an integer tensor of shape "
            f"{(n, *top.shape)}. Got {label.dtype} of shape {tuple(label.shape)} instead."
        )
    if ((label < 0) | (label > top.to(label.device))).any():
        raise ValueError(
            f"The 'label' parameter of {where} must be from 0 to {top.tolist()}. "
            f"Got {label.min().item()} to {label.max().item()} instead."
        )
    return label


class Guided(nn.Module):
    """A model, guided: called as any model is; ``guided`` makes it.

    An nn.Module, so that ``eval``, ``train``, ``to`` and ``double`` reach the model inside.
    """

    null_label: Any

    def __init__(self, model: Any, guidance_scale: Scale):
        super().__init__()
        self.model = model
        self.guidance_scale = (
            guidance_scale if callable(guidance_scale) else _rounded(check_scale(guidance_scale))
        )
        for name in SHOWN:
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        jumps = {*getattr(model, "edges", ()), *getattr(guidance_scale, "edges", ())}
        self.edges = tuple(sorted(jumps, reverse=True))
        if not isinstance(model, nn.Module):
            self.training = False

    def scale_at(self, x: Tensor, level: Tensor) -> float | Tensor:
        """Return the scale, one number or one a row of x (n, ...), rounded to 0 and 1."""
        scale = self.guidance_scale
        if callable(scale):
            scale = _rounded(check_scale(scale(level)))
        if isinstance(scale, float):
            return scale
        if len(scale) != len(x):
            raise ValueError(
                "The 'guidance_scale' parameter of guided must have one value a row of x, "
                f"{len(x)} of them. Got {len(scale)} instead."
            )
        return scale.to(x) if x.is_floating_point() else scale.to(x.device, torch.float64)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        level = level_beside(x, level)
        null = _null_like(label, self.null_label)
        scale, is_null = self.scale_at(x, level), label == null
        if isinstance(scale, float) and not is_null.any():
            return self._all_rows(x, level, label, null, scale)
        is_null = is_null if is_null.ndim == 1 else is_null.all(1)
        if isinstance(scale, float):
            scale = torch.tensor(scale, dtype=torch.float64, device=x.device).expand(len(x))
        scale = scale.masked_fill(is_null, 1.0)  # there both branches agree
        for one in (0.0, 1.0):
            if (scale == one).all():
                return self._all_rows(x, level, label, null, one)

        with_cond, with_uncond = scale != 0, scale != 1
        rows = torch.cat([with_cond.nonzero(), with_uncond.nonzero()]).squeeze(1)
        labels = torch.cat([label[with_cond], null[with_uncond]])
        prediction = self.model(x[rows], level[rows] if level.ndim else level, labels)
        cond_at = with_cond.cumsum(0) - 1
        uncond_at = int(with_cond.sum()) + with_uncond.cumsum(0) - 1
        # A row without a branch takes the other in its place: guide then returns it unchanged.
        cond = prediction[torch.where(with_cond, cond_at, uncond_at)]
        uncond = prediction[torch.where(with_uncond, uncond_at, cond_at)]
        return _combine(cond, uncond, scale)

    def _all_rows(
        self, x: Tensor, level: Tensor, label: Tensor, null: Tensor, scale: float
    ) -> Tensor:
        """Guide with one scale for all rows, without looking at them one by one."""
        if scale in (0.0, 1.0):
            return self.model(x, level, label if scale else null)
        levels = torch.cat([level, level]) if level.ndim else level
        prediction = self.model(torch.cat([x, x]), levels, torch.cat([label, null]))
        return _combine(prediction[: len(x)], prediction[len(x) :], scale)


def _null_like(label: Tensor, null_label: int | Tensor) -> Tensor:
    """Return the null label in the shape of ``label`` (n,) or (n, k)."""
    if isinstance(null_label, int):
        return torch.full_like(label, null_label)
    return torch.as_tensor(null_label).to(label).expand_as(label)


def _combine(cond: Tensor, uncond: Tensor, scale: float | Tensor) -> Tensor:
    """Return ``guide``, with places that either branch forbids (-inf) forbidden, not NaN."""
    combined = guide(cond, uncond, scale)
    if math.isfinite(combined.detach().sum()):  # one look, since nearly always all is finite
        return combined
    forbidden = cond.isneginf() | uncond.isneginf()
    if forbidden.all(-1).any():
        raise ValueError(
            "The 'model' parameter of guided must allow something at every place. "
            "Got a place where the two branches together forbid everything instead."
        )
    return combined.masked_fill(forbidden, -torch.inf)


def guided(model: Any, guidance_scale: Scale) -> Guided:
    """Classifier-free guidance: a model, and the same model guided is again a model.

    ``guided(guided(m, a), b)`` is ``guided(m, a * b)``, and the null label is a fixed point.

    Parameters
    ----------
    model : callable (x, level, label) -> prediction, with ``num_classes`` and ``null_label``
    guidance_scale : float, Tensor (n,) with one scale a row, or a callable of the level
        (a Tensor, 0-d or (n,)); 0 unconditional, 1 conditional (the paper's w is this minus 1)

    Returns
    -------
    callable (x, level, label) -> prediction. Rows at scale 0 or 1 cost one forward, others two.

    Raises
    ------
    ValueError : a scale that is not finite and real or not one a row; a model trained without
        label dropout (``p_uncond`` 0), which has no unconditional branch

    Source: Ho & Salimans 2022 (arXiv 2207.12598). Lesson: 01_mixtures.
    """
    if getattr(model, "p_uncond", None) == 0:
        raise ValueError(
            "The 'model' parameter of guided must have been trained with label dropout, "
            "p_uncond > 0. Got a model with p_uncond = 0 instead."
        )
    if isinstance(model, Guided):  # one layer, so that each row keeps its own scales
        guidance_scale = _product(model.guidance_scale, guidance_scale)
        model = model.model
    return Guided(model, guidance_scale)


def _product(first: Scale, second: Scale) -> Scale:
    """Return the scale that guides once as much as two scales do one after the other."""
    pair = [scale if callable(scale) else check_scale(scale) for scale in (first, second)]
    edges = {edge for scale in pair for edge in getattr(scale, "edges", ())}

    def at(level: Tensor) -> Tensor:
        a, b = (check_scale(scale(level)) if callable(scale) else scale for scale in pair)
        if a.ndim and b.ndim and len(a) != len(b):
            raise ValueError(
                "The 'guidance_scale' parameter of guided must have one value a row, as many as "
                f"the model's own scale has, {len(a)}. Got {len(b)} instead."
            )
        return a * b

    return Schedule(at, tuple(edges)) if any(map(callable, pair)) else at(torch.zeros(()))


class Composed(nn.Module):
    """A model guided by several labels at once: called as any model is; ``composed`` makes it."""

    null_label: Any

    def __init__(self, model: Any, scales: dict[Any, Any]):
        super().__init__()
        self.model, self.scales = model, scales
        for name in SHOWN:
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        jumps = {*getattr(model, "edges", ())}
        jumps.update(*(getattr(scale, "edges", ()) for scale in scales.values()))
        self.edges = tuple(sorted(jumps, reverse=True))
        if not isinstance(model, nn.Module):
            self.training = False

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        level = level_beside(x, level)
        null = _null_like(label, self.null_label)
        is_null = (label == null).reshape(len(x), -1).all(1)
        own = (~is_null).nonzero()[:, 0]  # the rows that are guided
        scales = {key: self._scale(scale, x, level)[own] for key, scale in self.scales.items()}
        used = {key: scale for key, scale in scales.items() if (scale != 0).any()}
        rest = 1 - sum(used.values(), torch.zeros(len(own), dtype=torch.float64, device=x.device))
        rest = rest.masked_fill(rest.abs() < ROUNDING, 0)
        with_null = is_null.clone()
        with_null[own] = rest != 0
        rows = torch.cat([*[own] * len(used), with_null.nonzero()[:, 0]])
        labels = [torch.as_tensor(key).to(label).expand_as(label[own]) for key in used]
        every = torch.cat([*labels, null[with_null]])
        prediction = self.model(x[rows], level[rows] if level.ndim else level, every)
        *each, nulls = prediction.split([len(own)] * len(used) + [int(with_null.sum())])
        answer = prediction.new_zeros(len(x), *prediction.shape[1:])
        answer[with_null] = nulls
        if len(own):
            answer[own] = _combine_all([*each, answer[own]], [*used.values(), rest])
        return answer

    @staticmethod
    def _scale(scale: Any, x: Tensor, level: Tensor) -> Tensor:
        value = check_scale(scale(level) if callable(scale) else scale, "scales", "composed")
        if value.ndim and len(value) != len(x):
            raise ValueError(
                "The 'scales' parameter of composed must have one value a row of x, "
                f"{len(x)} of them. Got {len(value)} instead."
            )
        rounded = torch.as_tensor(_rounded(value), dtype=torch.float64, device=x.device)
        return rounded.expand(len(x))


def _combine_all(predictions: list[Tensor], weights: list[Tensor]) -> Tensor:
    """Return the weighted sum; what a prediction that has a weight forbids (-inf) is forbidden."""
    total, forbidden = torch.zeros_like(predictions[0]), torch.zeros_like(predictions[0]).bool()
    for prediction, weight in zip(predictions, weights, strict=True):
        weight = per_row(weight, prediction)
        forbids = prediction.isneginf() & (weight != 0)
        forbidden |= forbids
        total = total + weight * prediction.masked_fill(prediction.isneginf(), 0)
    if not forbidden.any():
        return total
    if forbidden.all(-1).any():
        raise ValueError(
            "The 'model' parameter of composed must allow something at every place. "
            "Got a place where the branches together forbid everything instead."
        )
    return total.masked_fill(forbidden, -torch.inf)


def composed(model: Any, scales: dict[Any, Scale]) -> Composed:
    """Guidance by several labels at once: ``D(null) + sum of scale_i (D(label_i) - D(null))``.

    ``composed(m, {c: s})`` answers as ``guided(m, s)`` does to label c; a negative scale steers
    away from a label. The label that the composed model is called with is not looked at, but for
    the null label, which is a fixed point; so ``guided(composed(m, d), b)`` is composition with all
    scales times b.

    Parameters
    ----------
    model : callable (x, level, label) -> prediction, with ``num_classes`` and ``null_label``
    scales : {label: scale}, at least one; a label is an int, or a tuple where it has several parts;
        a scale is what ``guided`` takes

    Returns
    -------
    callable (x, level, label) -> prediction. A label whose scale is 0 costs nothing, and where the
    scales sum to 1 there is no unconditional forward.

    Raises
    ------
    ValueError : no labels, a label that the model does not know, a scale that is not finite, real
        and one or one a row; a model trained without label dropout

    Source: Liu et al. 2022 (arXiv 2206.01714). Lesson: 04_audio.
    """
    if not isinstance(scales, dict) or not scales:
        raise ValueError(
            "The 'scales' parameter of composed must be {label: scale}, at least one. "
            f"Got {scales!r} instead."
        )
    if getattr(model, "p_uncond", None) == 0:
        raise ValueError(
            "The 'model' parameter of composed must have been trained with label dropout, "
            "p_uncond > 0. Got a model with p_uncond = 0 instead."
        )
    for label, scale in scales.items():
        check_label([label], 1, model.null_label, "composed")
        if not callable(scale):
            check_scale(scale, "scales", "composed")
    return Composed(model, dict(scales))
