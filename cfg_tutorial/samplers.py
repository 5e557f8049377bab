"""Samplers: from noise to data, one state after the other. Know nothing of guidance or networks."""

import functools
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.diffusion import check_tokens, row_noise
from cfg_tutorial.guidance import check_label


def _sampler(states: Callable[..., Iterator[Tensor]]) -> Callable[..., Iterator[Tensor]]:
    """Make a rule a sampler: arguments checked at the call, evaluation mode, no gradients."""

    @functools.wraps(states)
    def sample(
        model: Any, x: Tensor, sigmas: Tensor, label: Tensor, *args: Any, **options: Any
    ) -> Iterator[Tensor]:
        if len(x) == 0:
            raise ValueError(
                f"The 'x' parameter of {states.__name__} must have rows. "
                f"Got shape {tuple(x.shape)} instead."
            )
        sigmas = _check_levels(torch.as_tensor(sigmas).to(x), "sigmas", states.__name__)
        label = check_label(label, len(x), model.null_label, states.__name__).to(x.device)
        if "rows" in options:
            options["rows"] = check_rows(options["rows"], len(x), states.__name__)
        return _evaluate(model, states(model, x, sigmas, label, *args, **options))

    return sample


def _check_levels(levels: Tensor, name: str, where: str) -> Tensor:
    falls = levels.ndim == 1 and len(levels) > 1 and bool((levels.diff() < 0).all())
    if not falls or levels[-1] != 0 or not torch.isfinite(levels).all():
        raise ValueError(
            f"The '{name}' parameter of {where} must decrease strictly and end in 0. "
            f"Got {levels.tolist()} instead."
        )
    return levels


@torch.no_grad()
def _evaluate(model: Any, states: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield ``states`` with the model in evaluation mode; each module's own mode is restored."""
    modes = {m: m.training for m in model.modules()} if isinstance(model, nn.Module) else {}
    try:
        for module in modes:
            module.training = False
        yield from states
    finally:
        for module, training in modes.items():
            module.training = training


@_sampler
def sample_euler(model: Any, x: Tensor, sigmas: Tensor, label: Tensor) -> Iterator[Tensor]:
    """Yield successive states of the probability-flow ODE, Euler's first-order rule.

    Parameters
    ----------
    model : callable (x, sigma, label) -> x0, both of shape (n, *shape)
    x : Tensor (n, *shape), the noise at sigmas[0]
    sigmas : Tensor (num_steps + 1,), strictly decreasing, last 0
    label : Tensor (n,) of int

    Raises
    ------
    ValueError : no rows, sigmas that do not decrease to 0, a label that the model does not know

    Source: DDIM without noise, Song et al. 2020 (arXiv 2010.02502), in the notation of Karras
    et al. 2022. Lesson: 01_mixtures.
    """
    for sigma, sigma_next in pairwise(sigmas):
        x = model(x, sigma, label).lerp(x, sigma_next / sigma)
        yield x


@_sampler
def sample_heun(model: Any, x: Tensor, sigmas: Tensor, label: Tensor) -> Iterator[Tensor]:
    """Yield successive states of the probability-flow ODE, Heun's second-order rule.

    Two evaluations a step, one in the last. Parameters and errors: as ``sample_euler``.

    Source: Karras et al. 2022, algorithm 1 without churn (arXiv 2206.00364). Lesson: 01_mixtures.
    """
    for sigma, sigma_next in pairwise(sigmas):
        slope = (x - model(x, sigma, label)) / sigma
        proposal = x + (sigma_next - sigma) * slope
        if sigma_next > 0:
            above = sigma_next.nextafter(sigma)  # a window that ends here still covers this step
            slope = (slope + (proposal - model(proposal, above, label)) / above) / 2
        x = x + (sigma_next - sigma) * slope
        yield x


@_sampler
def sample_dpmpp_2m(model: Any, x: Tensor, sigmas: Tensor, label: Tensor) -> Iterator[Tensor]:
    """Yield successive states of the probability-flow ODE, DPM-Solver++ 2M: second order, one
    evaluation a step.

    Its memory of the step before is dropped where the model jumps (a level in ``model.edges``).
    Parameters and errors: as ``sample_euler``.

    Source: Lu et al. 2022, algorithm 2 (arXiv 2211.01095). Lesson: 01_mixtures.
    """
    edges = sigmas.new_tensor(getattr(model, "edges", ()))
    previous, last_step = None, sigmas[0]
    for sigma, sigma_next in pairwise(sigmas):
        x0 = model(x, sigma, label)
        step = (sigma / sigma_next).log()
        target = x0
        if previous is not None and sigma_next > 0 and not (sigma == edges).any():
            target = x0 + (x0 - previous) * step / (2 * last_step)
        x = target.lerp(x, sigma_next / sigma)
        previous, last_step = x0, step
        yield x


@_sampler
def sample_ancestral(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    label: Tensor,
    seed: int = 0,
    rows: Tensor | None = None,
) -> Iterator[Tensor]:
    """Yield successive states of the reverse SDE: each step removes noise and adds fresh noise.

    Needs many steps: with 18 of them even a unit Gaussian comes out with variance .57.

    Parameters
    ----------
    seed : int >= 0
    rows : Tensor (n,) of int, identities of the rows, arange(n) unless given; a row's noise is a
        function of (seed, row, step) alone

    Others, and errors: as ``sample_euler``; also a ValueError if rows are not n ints >= 0.

    Source: Ho et al. 2020 (arXiv 2006.11239), in the notation of Karras et al. 2022.
    Lesson: 01_mixtures.
    """
    rows = check_rows(rows, len(x), "sample_ancestral")
    noise = row_noise(seed, rows, tuple(x.shape[1:]), x, stream=1)
    for sigma, sigma_next in pairwise(sigmas):
        down = sigma_next**2 / sigma
        x = model(x, sigma, label).lerp(x, down / sigma)
        if sigma_next > 0:
            x = x + (sigma_next**2 - down**2).sqrt() * next(noise)
        yield x


ORDERS = ("random", "left", "confidence")


def sample_unmask(
    model: Any,
    tokens: Tensor,
    levels: Tensor,
    label: Tensor,
    order: str = "random",
    seed: int = 0,
    rows: Tensor | None = None,
    weights: bool = False,
) -> Iterator[Any]:
    """Yield successive states of tokens, the masked places revealed a few at a time.

    Words are drawn from the model's predictions, normalised. Places that are not masked stay as
    they are, and a start may have some: of those masked at levels[0], the share level / levels[0]
    is still masked at each later level. With length + 1 levels one place a step is revealed, which
    samples the exact model's own law; several at once are drawn as if independent.

    Parameters
    ----------
    model : callable (tokens, level, label) -> log-probabilities (n, length, words)
    tokens : Tensor (n, length) of int, words, ``model.mask_token`` or ``model.pad_token``
    levels : Tensor (num_steps + 1,), strictly decreasing, last 0, as torch.linspace(1, 0, ...)
    label : Tensor (n,), or (n, k), of int
    order : "random"; "left" to right, for causal models; or "confidence": a word is drawn at every
        masked place and the likeliest of them stay, which favours likely words whatever the model
    seed, rows : a row's luck is a function of (seed, row, step) alone, as in ``sample_ancestral``
    weights : yield (tokens, log_weight), where log_weight (n,) of float64 is the sum of the
        logarithms that normalised the predictions; of samples guided at a constant scale, drawn
        one place a step in "random" or "left" order, exp(log_weight) repairs the law to
        p(x|c)^s p(x)^(1-s), and its mean is that law's sum

    Raises
    ------
    ValueError : tokens of a wrong type, without rows or places, or unknown; levels that do not
        decrease to 0; an unknown label or order; a place where the model allows no word

    Source: any-order sampling, Ou et al. 2024 (arXiv 2406.03736); confidence after Chang et al.
    2022 (arXiv 2202.04200). Lesson: 03_text_tokens.
    """
    tokens = check_tokens(tokens, model, "sample_unmask")
    levels = torch.as_tensor(levels)
    levels = levels if levels.is_floating_point() else levels.to(torch.get_default_dtype())
    levels = _check_levels(levels, "levels", "sample_unmask")
    if levels[0] > 1:
        raise ValueError(
            "The 'levels' parameter of sample_unmask must be masked fractions, at most 1. "
            f"Got {levels.tolist()} instead."
        )
    if order not in ORDERS:
        raise ValueError(
            f"The 'order' parameter of sample_unmask must be one of {ORDERS}. "
            f"Got {order!r} instead."
        )
    label = check_label(label, len(tokens), model.null_label, "sample_unmask").to(tokens.device)
    rows = check_rows(rows, len(tokens), "sample_unmask")
    return _evaluate(model, _unmask(model, tokens, levels, label, order, seed, rows, weights))


def _unmask(
    model: Any,
    tokens: Tensor,
    levels: Tensor,
    label: Tensor,
    order: str,
    seed: int,
    rows: Tensor,
    weights: bool,
) -> Iterator[Any]:
    shape, like = tuple(tokens.shape[1:]), torch.empty(0, dtype=torch.float64, device=tokens.device)
    noise = row_noise(seed, rows, shape, like, stream=1)
    turn = torch.arange(tokens.shape[1]).to(like).expand(tokens.shape)
    if order == "random":
        turn = next(row_noise(seed, rows, shape, like, stream=2))
    at_first = (tokens == model.mask_token).sum(1)
    log_weight = at_first.new_zeros(at_first.shape, dtype=torch.float64)
    for level, level_next in pairwise(levels):
        masked = tokens == model.mask_token
        stay = (at_first * (level_next / levels[0]) - 1e-4).ceil()
        number = (masked.sum(1) - stay)[:, None]
        luck = next(noise)  # also where nothing is revealed: a row's luck is that of its step
        if (number > 0).any():
            sure = order == "confidence"
            shown = masked if sure else masked & (_rank(turn, masked) < number)
            drawn, log_prob, log_z = _draw(model, tokens, level, label, shown, luck)
            if sure:
                shown = masked & (_rank(-log_prob, masked) < number)
            tokens = torch.where(shown, drawn, tokens)
            log_weight = log_weight + torch.where(shown, log_z, 0.0).sum(1)
        yield (tokens, log_weight) if weights else tokens


def _rank(turn: Tensor, masked: Tensor) -> Tensor:
    """Return which masked place of each row comes first, second, ... by ``turn`` (n, length)."""
    return turn.masked_fill(~masked, torch.inf).argsort(1).argsort(1)


def _draw(
    model: Any, tokens: Tensor, level: Tensor, label: Tensor, at: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a word, its log-probability and log Z, each (n, length), for the places ``at``."""
    prediction = model(tokens, level, label)[at].double()  # (places, words)
    if model.mask_token < prediction.shape[1]:
        prediction[:, model.mask_token] = -torch.inf  # a word is never the mask
    log_z = prediction.logsumexp(1)
    if not torch.isfinite(log_z).all():
        raise ValueError(
            "The 'model' parameter of sample_unmask must allow a word at every place. "
            f"Got log-probabilities that sum to {log_z[~torch.isfinite(log_z)][0].exp():g} instead."
        )
    cdf = (prediction - log_z[:, None]).exp().cumsum(1)
    luck = torch.special.ndtr(noise[at]) * cdf[:, -1]
    word = torch.searchsorted(cdf, luck[:, None], right=True)
    log_prob = prediction.gather(1, word)[:, 0] - log_z

    def placed(values: Tensor) -> Tensor:
        return values.new_zeros(tokens.shape).masked_scatter(at, values)

    return placed(word[:, 0].to(tokens)), placed(log_prob), placed(log_z)


def check_rows(rows: Tensor | None, n: int, where: str) -> Tensor:
    """Return ``rows`` as (n,) ints >= 0, arange(n) unless given, or raise a ValueError."""
    rows = torch.arange(n) if rows is None else torch.as_tensor(rows)
    if rows.shape != (n,) or rows.is_floating_point() or bool((rows < 0).any()):
        raise ValueError(
            f"The 'rows' parameter of {where} must be {n} ints >= 0. "
            f"Got {rows.dtype} of shape {tuple(rows.shape)} instead."
        )
    return rows
