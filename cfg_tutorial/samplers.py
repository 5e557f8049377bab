"""Samplers: from noise to data, one state after the other. Know nothing of guidance or networks."""

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import (
    check_filled,
    check_int,
    check_label,
    check_levels,
    check_rows,
    check_tokens,
    require,
)
from cfg_tutorial.diffusion import row_noise
from cfg_tutorial.guidance import level_beside, tell

ORDERS = ("random", "left", "confidence")


def _sampler(check: Callable[..., tuple[Tensor, Tensor]]) -> Callable[[Any], Any]:
    """Make a rule a sampler: arguments are checked at the call, x and levels by ``check``, and the
    states are then those of one run of the model."""

    def decorate(rule: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        name, signature = rule.__name__, inspect.signature(rule)

        @functools.wraps(rule)
        def sample(*args: Any, **options: Any) -> Iterator[Any]:
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            model, x, levels, label, *_ = bound.args
            x, levels = check(name, **bound.arguments)
            label = check_label(label, len(x), getattr(model, "null_label", None), name)
            label = label.to(x.device)
            rows = check_rows(bound.arguments.get("rows"), len(x), name)
            seed = check_int(bound.arguments.get("seed", 0), name, "seed")
            require(seed >= 0, name, "seed", "an int >= 0", seed)
            given = zip(bound.arguments, (model, x, levels, label), strict=False)
            bound.arguments.update(dict(given))
            if "rows" in bound.arguments:
                bound.arguments["rows"] = rows
            states = rule(*bound.args, **bound.kwargs)
            return evaluated(model, _run(model, states, levels, label, rows))

        sample.evaluates = True  # type: ignore[attr-defined]  # a domain does it for one's own
        return sample

    return decorate


def _check_x(name: str, x: Tensor, sigmas: Any, **_: Any) -> tuple[Tensor, Tensor]:
    check_filled(x, name)
    return x, check_levels(torch.as_tensor(sigmas).to(x), "sigmas", name)


def _check_tokens(
    name: str, model: Any, tokens: Any, levels: Any, order: str, **_: Any
) -> tuple[Tensor, Tensor]:
    tokens = check_tokens(tokens, model, name)
    levels = check_levels(level_beside(tokens, levels), "levels", name)
    expected = "masked fractions, at most 1"
    require(levels[0] <= 1, name, "levels", expected, lambda: levels.tolist())
    require(order in ORDERS, name, "order", f"one of {ORDERS}", repr(order))
    return tokens, levels


_lock = threading.Lock()
_asked: dict[nn.Module, tuple[int, bool]] = {}  # how many ask a module now, and its own mode


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Let a model be in evaluation mode inside, and compute no gradients.

    Samplers may run one model in turns, or in threads: the first to come puts a module into that
    mode, and the last to go puts it back into its own.
    """
    modules = [*model.modules()] if isinstance(model, nn.Module) else []
    with _lock:
        for module in modules:
            number, mode = _asked.get(module, (0, module.training))
            _asked[module] = number + 1, mode
            module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        with _lock:
            for module in modules:
                number, mode = _asked.pop(module)
                if number > 1:
                    _asked[module] = number - 1, mode
                else:
                    module.training = mode


def evaluated(model: Any, states: Iterator[Any]) -> Iterator[Any]:
    """Yield ``states``, each computed while the model is ``evaluating``, and nothing in between."""
    while True:
        with evaluating(model):
            try:
                state = next(states)
            except StopIteration:
                return
        yield state


def _run(
    model: Any, states: Iterator[Any], levels: Tensor, label: Tensor, rows: Tensor
) -> Iterator[Any]:
    """Yield ``states``, one per step, and tell a model that remembers a run of its
    ``start(label, rows)``, and once a step of its ``step(level)``, however often the rule then
    evaluates it."""
    tell(model, "start", label, rows)
    for level in levels[:-1]:
        tell(model, "step", level)
        yield next(states)


def sampler(rule: Callable[..., Iterator[Tensor]]) -> Callable[..., Iterator[Tensor]]:
    """Make a sampler of a rule of one's own; a decorator.

    Parameters
    ----------
    rule : generator (model, x, sigmas, label) of states x (n, *shape), one per step, the last at
        sigma 0; it may take ``seed`` and ``rows`` too, which ``domain.sample`` then gives

    Returns
    -------
    callable as ``sample_euler``: what it is given is checked; the model evaluates, without
    gradients, and is told of the run's start and steps

    Lesson: 11_your_own.
    """
    require(callable(rule), "sampler", "rule", "a function", repr(rule))
    names = [*inspect.signature(rule).parameters]
    expected = "a generator (model, x, sigmas, label, ...)"
    require(len(names) >= 4, "sampler", "rule", expected, f"{rule.__name__}({', '.join(names)})")
    return _sampler(_check_x)(rule)


@_sampler(_check_x)
def sample_euler(
    model: Any, x: Tensor, sigmas: Tensor, label: Tensor, rows: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield successive states of the probability-flow ODE, Euler's first-order rule.

    Parameters
    ----------
    model : callable (x, sigma, label) -> x0, both of shape (n, *shape)
    x : Tensor (n, *shape), the noise at sigmas[0]
    sigmas : Tensor (num_steps + 1,), strictly decreasing, last 0
    label : Tensor (n,) of int
    rows : Tensor (n,) of int, identities of the rows, arange(n) unless given; only a model that
        remembers a run is told of them

    Raises
    ------
    ValueError : no rows, sigmas that do not decrease to 0, a label that the model does not know

    Source: DDIM without noise, Song et al. 2020 (arXiv 2010.02502), in the notation of Karras
    et al. 2022. Lesson: 01_mixtures.
    """
    for sigma, sigma_next in pairwise(sigmas):
        x = model(x, sigma, label).lerp(x, sigma_next / sigma)
        yield x


@_sampler(_check_x)
def sample_heun(
    model: Any, x: Tensor, sigmas: Tensor, label: Tensor, rows: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield successive states of the probability-flow ODE, Heun's second-order rule.

    Two evaluations per step, one in the last. Parameters and errors: as ``sample_euler``.

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


@_sampler(_check_x)
def sample_dpmpp_2m(
    model: Any, x: Tensor, sigmas: Tensor, label: Tensor, rows: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield successive states of the probability-flow ODE, DPM-Solver++ 2M: second order, one
    evaluation per step.

    Its memory of the step before is dropped where the model jumps: at a level in ``model.edges``,
    which must be among the sigmas, see ``Gaussian.levels``. Parameters and errors: as
    ``sample_euler``.

    Source: Lu et al. 2022, algorithm 2 (arXiv 2211.01095). Lesson: 01_mixtures.
    """
    edges = sigmas.new_tensor(getattr(model, "edges", ()))
    previous: Any = None
    last_step: Any = None
    for sigma, sigma_next in pairwise(sigmas):
        x0 = model(x, sigma, label)
        step = (sigma / sigma_next).log()
        target = x0
        if previous is not None and sigma_next > 0 and not (sigma == edges).any():
            target = x0 + (x0 - previous) * step / (2 * last_step)
        x = target.lerp(x, sigma_next / sigma)
        previous, last_step = x0, step
        yield x


@_sampler(_check_x)
def sample_ancestral(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    label: Tensor,
    seed: int = 0,
    rows: Any = None,
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
    noise = row_noise(seed, rows, tuple(x.shape[1:]), x, stream=1)
    for sigma, sigma_next in pairwise(sigmas):
        down = sigma_next**2 / sigma
        x = model(x, sigma, label).lerp(x, down / sigma)
        if sigma_next > 0:
            x = x + (sigma_next**2 - down**2).sqrt() * next(noise)
        yield x


@_sampler(_check_tokens)
def sample_unmask(
    model: Any,
    tokens: Tensor,
    levels: Tensor,
    label: Tensor,
    order: str = "random",
    seed: int = 0,
    rows: Any = None,
    weights: bool = False,
) -> Iterator[Any]:
    """Yield successive states of tokens, the masked places revealed a few at a time.

    Words are drawn from the model's predictions, normalised. Places that are not masked stay as
    they are, and a start may have some: of those masked at levels[0], the share level / levels[0]
    is still masked at each later level, which is what the model is told, however many a row began
    with. With length + 1 levels one place a step is revealed, which
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
    prediction[:, model.vocab_size :] = -torch.inf  # padding and whatever else is no word
    if model.mask_token < prediction.shape[1]:
        prediction[:, model.mask_token] = -torch.inf
    log_z = prediction.logsumexp(1)
    possible = torch.isfinite(log_z)
    expected = "must allow a word at every place"
    require(
        possible.all(),
        "sample_unmask",
        "model",
        expected,
        lambda: f"log-probabilities that sum to {log_z[~possible][0].exp():g}",
    )
    cdf = (prediction - log_z[:, None]).exp().cumsum(1)
    luck = torch.special.ndtr(noise[at]) * cdf[:, -1]
    word = torch.searchsorted(cdf, luck[:, None], right=True)
    log_prob = prediction.gather(1, word)[:, 0] - log_z

    def placed(values: Tensor) -> Tensor:
        return values.new_zeros(tokens.shape).masked_scatter(at, values)

    return placed(word[:, 0].to(tokens)), placed(log_prob), placed(log_z)
