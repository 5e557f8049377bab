"""The laws of modes that guidance is said to sample, and does sample. Knows no model."""

import math

import torch
from torch import Tensor

from cfg_tutorial.arguments import require


def tilted_law(mode_weights: Tensor, scale: float, label: int) -> Tensor:
    """Return p(mode | label)^scale p(mode)^(1 - scale), normalised: (num_modes,) of float64.

    The law that guidance is often said to sample. It is not: see ``guided_weights`` of mixtures.

    Source: Bradley & Nakkiran 2024 (arXiv 2408.09000), who show the difference.
    """
    own, mean = mode_weights[label].double(), mode_weights.double().mean(0)
    log = torch.xlogy(scale, own) + torch.xlogy(1 - scale, mean)
    possible = (own > 0) | ((mean > 0) & (scale == 0))
    return torch.where(possible, log, -torch.inf).softmax(0)


def guided_law(means: Tensor, variances: Tensor, own: Tensor, mean: Tensor, scale: float) -> Tensor:
    """Return the modes' law of samples guided with the ODE: (k,) of float64.

    Exact for separated modes of one variance, by the flow itself and without the samplers:
    with y = x / sqrt(v + sigma^2) and u = 1 / sqrt(v + sigma^2), dy/du is the mean of the mode
    centres under softmax(log weights + u y.mean - u^2 |mean|^2 / 2), combined as ``guide``
    does, and y is standard normal at u = 0. In one dimension the borders are found by
    bisection; else 16,384 quasi-random starts are followed (error about .001).

    Parameters
    ----------
    means, variances : Tensor (k, d), and (k,) or (k, d)
    own, mean : Tensor (k,), the modes' law of the class, and of all classes together

    Raises
    ------
    ValueError : variances that differ, or too large for the modes to be separate

    Source: probability-flow ODE, Song et al. 2021 (arXiv 2011.13456), in these coordinates.
    """
    means, k = means - means.mean(0), len(means)  # a shift of all data changes nothing
    gaps = (
        torch.cdist(means, means)[~torch.eye(k, dtype=torch.bool)] if k > 1 else means.new_ones(1)
    )
    variance = variances.max().item()
    separate = gaps.min().item() >= 4 * math.sqrt(variance)
    ok = separate and variances.min() >= variance * (1 - 1e-6)
    expected = "one number, at most 1/16 of the least squared distance of modes, for guided_weights"
    got = f"{variances.min():.4g} to {variance:.4g}, least distance {gaps.min():.4g}"
    require(ok, "GaussianMixture", "variances", expected, got)
    end = min(1 / math.sqrt(variance) if variance else math.inf, 12 / gaps.min().item())
    num_steps = math.ceil(end * gaps.max().item() / 0.3)
    squares, logs = means.square().sum(1)[:, None] / 2, [p.log()[:, None] for p in (mean, own)]

    # Starts are columns: a softmax over 8 rows of thousands is seven times as fast as over columns.
    def slope(y: Tensor, u: float) -> Tensor:
        logits = u * (means @ y) - u**2 * squares
        uncond, cond = ((logits + log).softmax(0) for log in logs)
        return means.T @ torch.lerp(uncond, cond, scale)

    def fate(y: Tensor) -> Tensor:
        du = end / num_steps
        for i in range(num_steps):
            u = i * du
            a = slope(y, u)
            b = slope(y + du / 2 * a, u + du / 2)
            c = slope(y + du / 2 * b, u + du / 2)
            y = y + du / 6 * (a + 2 * b + 2 * c + slope(y + du * c, u + du))
        return torch.cdist(y.T / end, means).argmin(1)

    d = means.shape[1]
    if d > 1:
        uniform = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(2**14).double()
        start = torch.special.ndtri(uniform.clamp(1e-7, 1 - 1e-7))
        return torch.bincount(
            torch.cat([fate(p.T) for p in start.split(2**11)]), minlength=k
        ).double() / len(start)
    grid = torch.linspace(-9, 9, 4097, dtype=torch.float64)
    modes = fate(grid[None])
    jump = (modes.diff() != 0).nonzero()[:, 0]
    low, high = grid[jump], grid[jump + 1]
    for _ in range(40):
        middle = (low + high) / 2
        left = fate(middle[None]) == modes[jump] if len(jump) else middle > 0
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    borders = torch.special.ndtr(torch.cat([low.new_tensor([-40.0]), low, low.new_tensor([40.0])]))
    kinds = modes[torch.cat([jump, jump.new_tensor([len(grid) - 1])])]
    return torch.zeros(k, dtype=torch.float64).index_add(0, kinds, borders.diff())
