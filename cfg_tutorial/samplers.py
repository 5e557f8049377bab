"""Samplers: from noise to data, one state after the other. Know nothing of guidance or networks."""

import functools
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.diffusion import row_noise
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
        sigmas = torch.as_tensor(sigmas).to(x)
        falls = sigmas.ndim == 1 and len(sigmas) > 1 and bool((sigmas.diff() < 0).all())
        if not falls or sigmas[-1] != 0 or not torch.isfinite(sigmas).all():
            raise ValueError(
                f"The 'sigmas' parameter of {states.__name__} must decrease strictly and end in 0. "
                f"Got {sigmas.tolist()} instead."
            )
        label = check_label(label, len(x), model.null_label, states.__name__).to(x.device)
        if "rows" in options:
            options["rows"] = check_rows(options["rows"], len(x), states.__name__)
        return _evaluate(model, states(model, x, sigmas, label, *args, **options))

    return sample


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


def check_rows(rows: Tensor | None, n: int, where: str) -> Tensor:
    """Return ``rows`` as (n,) ints >= 0, arange(n) unless given, or raise a ValueError."""
    rows = torch.arange(n) if rows is None else torch.as_tensor(rows)
    if rows.shape != (n,) or rows.is_floating_point() or bool((rows < 0).any()):
        raise ValueError(
            f"The 'rows' parameter of {where} must be {n} ints >= 0. "
            f"Got {rows.dtype} of shape {tuple(rows.shape)} instead."
        )
    return rows
