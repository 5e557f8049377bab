"""Forward processes: how data become noise, and the loss. Knows nothing of guidance or data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cfg_tutorial.guidance import check_label, per_row


def karras_sigmas(num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Return ``num_steps`` noise levels, evenly spaced in sigma^(1/rho), and a last 0.

    Returns
    -------
    Tensor (num_steps + 1,), strictly decreasing from sigma_max to sigma_min, then 0

    Raises
    ------
    ValueError : num_steps < 1, rho <= 0, or not 0 < sigma_min < sigma_max

    Source: Karras et al. 2022, equation 5 (arXiv 2206.00364).
    """
    if num_steps < 1 or not 0 < sigma_min < sigma_max < float("inf") or rho <= 0:
        raise ValueError(
            "The parameters of karras_sigmas must be num_steps >= 1, 0 < sigma_min < sigma_max "
            f"and rho > 0. Got {num_steps}, {sigma_min}, {sigma_max}, {rho} instead."
        )
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = torch.linspace(*ends, num_steps, dtype=torch.float64) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).to(torch.get_default_dtype())


def insert_levels(levels: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Return the decreasing ``levels`` (k + 1,) with the ``edges`` that lie among them added.

    A level within a thousandth of an edge gives way to it: a step so short would spoil the
    differences that multistep samplers take.
    """
    extra = levels.new_tensor(edges)
    extra = extra[(extra > levels[-1]) & (extra <= levels[0])]
    near = ((levels[:, None] - extra).abs() < 1e-3 * extra).any(1)
    return torch.cat([levels[~near], extra]).unique().flip(0)


def drop_labels(
    label: Tensor,
    p_uncond: float,
    null_label: int | Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace each row's label by the null label with probability ``p_uncond``: one coin a row.

    Parameters
    ----------
    label : Tensor (n,) or (n, k) of int; all k parts of a row share its coin
    p_uncond : float in [0, 1]
    null_label : int, or Tensor (k,)

    Raises
    ------
    ValueError : p_uncond is not in [0, 1]

    Source: Ho & Salimans 2022, algorithm 1 (arXiv 2207.12598). Lesson: 01_mixtures.
    """
    if not 0 <= p_uncond <= 1:
        raise ValueError(
            f"The 'p_uncond' parameter of drop_labels must be in [0, 1]. Got {p_uncond} instead."
        )
    heads = torch.rand(len(label), generator=generator, device=label.device) < p_uncond
    heads = heads.reshape(-1, *[1] * (label.ndim - 1))
    return torch.where(heads, torch.as_tensor(null_label).to(label), label)


def row_noise(
    seed: int, rows: Tensor, shape: tuple[int, ...], like: Tensor, stream: int = 0
) -> Iterator[Tensor]:
    """Yield standard normal noise (n, *shape), step after step.

    A row's noise is a function of (seed, row, step) alone, never of the batch it is drawn in.

    Parameters
    ----------
    rows : Tensor (n,) of int >= 0, the identities of the rows
    like : Tensor whose type and device the noise has
    stream : int, separates uses of one seed (0 starts a sample, 1 is noise added on the way)

    Raises
    ------
    ValueError : a negative seed or row
    """
    if seed < 0 or (len(rows) and int(rows.min()) < 0):
        raise ValueError(
            "The 'seed' and 'rows' parameters of row_noise must be >= 0. "
            f"Got seed {seed}, rows {rows.tolist()[:8]} instead."
        )
    generators = [np.random.default_rng([seed, stream, int(row)]) for row in rows]
    while True:
        draws = np.stack([generator.standard_normal(shape) for generator in generators])
        yield torch.from_numpy(draws).to(like)


@dataclass(frozen=True)
class Gaussian:
    """The process x = x0 + sigma * eps, its noise levels for training and for sampling.

    Source: Karras et al. 2022 (arXiv 2206.00364), whose defaults p_mean, p_std and rho are.
    """

    sigma_min: float = 0.02
    sigma_max: float = 40.0
    sigma_data: float = 0.5
    p_mean: float = -1.2
    p_std: float = 1.2
    rho: float = 7.0

    def levels(self, num_steps: int) -> Tensor:
        """Return the sampling levels (num_steps + 1,), decreasing, last 0."""
        return karras_sigmas(num_steps, self.sigma_min, self.sigma_max, self.rho)

    def noise(self, shape: tuple[int, ...], seed: int, rows: Tensor, like: Tensor) -> Tensor:
        """Return the first state (n, *shape): noise of standard deviation sigma_max."""
        return self.sigma_max * next(row_noise(seed, rows, shape, like))

    def training_levels(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n log-normal sigmas (n,), one from each n-th part of the law, in random order."""
        order = torch.randperm(n, generator=generator)
        quantile = (order + torch.rand(n, generator=generator)) / n
        normal = torch.special.ndtri(quantile.clamp(1e-6, 1 - 1e-6))
        return (self.p_mean + self.p_std * normal).exp()

    def corrupt(
        self, x0: Tensor, sigma: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return x0 + sigma * eps, (n, *shape); sigma 0-d or (n,)."""
        return x0 + per_row(sigma, x0) * torch.randn(x0.shape, generator=generator).to(x0)

    def loss(
        self, model: Any, x0: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean squared error of the predicted x0, weighted to 1 for any sigma.

        Parameters
        ----------
        x0 : Tensor (n, *shape)
        label : Tensor (n,), after label dropout

        Source: Karras et al. 2022, table 1 (arXiv 2206.00364). Lesson: 01_mixtures.
        """
        sigma = self.training_levels(len(x0), generator).to(x0)
        error = model(self.corrupt(x0, sigma, generator), sigma, label) - x0
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return (per_row(weight, x0) * error**2).mean()


def in_slices(
    model: Callable[..., Tensor], batch_size: int, x: Tensor, level: Tensor, label: Tensor
) -> Tensor:
    """Return model(x, level, label), run on ``batch_size`` rows at a time; level 0-d or (n,).

    One huge batch is up to twice as slow as slices: its buffers are fetched anew at each use.
    """
    level = torch.as_tensor(level, dtype=x.dtype, device=x.device)
    if len(x) <= batch_size:
        return model(x, level, label)
    each = level.split(batch_size) if level.ndim else repeat(level)
    parts = zip(x.split(batch_size), each, label.split(batch_size), strict=False)
    return torch.cat([model(*part) for part in parts])


class Denoiser(nn.Module):
    """A network seen as a model: (x, sigma, label) -> x0. ``wrap`` makes it and says how."""

    edges: tuple[float, ...] = ()

    def __init__(
        self,
        net: Callable[..., Tensor],
        predicts: str,
        num_classes: int,
        null_label: int,
        p_uncond: float | None,
        sigma_data: float,
        scale_input: bool,
        level_input: Callable[[Tensor], Tensor] | None,
        batch_size: int,
    ):
        super().__init__()
        self.net, self.predicts = net, predicts
        self.num_classes, self.null_label, self.p_uncond = num_classes, null_label, p_uncond
        self.sigma_data, self.batch_size = sigma_data, batch_size
        self.scale_input, self.level_input = scale_input, level_input
        self.rows_run = 0

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        self.rows_run += len(x)
        try:
            return in_slices(self._slice, self.batch_size, x, level, label)
        except (IndexError, RuntimeError):  # checked only now: a step should cost the network
            check_label(label, len(x), self.null_label, "model")
            raise

    def _slice(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        # One level for all rows is a plain number: a step should cost little beyond the network.
        sigma = per_row(level, x) if level.ndim else level.item()
        norm = (sigma**2 + self.sigma_data**2) ** -0.5
        levels = level.expand(len(x))
        output = self.net(
            x * norm if self.scale_input else x,
            self.level_input(levels) if self.level_input else levels,
            label,
        )
        if self.predicts == "x0":
            return output
        if self.predicts == "eps":
            return x - sigma * output
        norm = norm * self.sigma_data
        if isinstance(sigma, float):
            return torch.sub(norm**2 * x, output, alpha=sigma * norm)
        return norm**2 * x - sigma * norm * output


def wrap(
    net: Callable[..., Tensor],
    predicts: str = "x0",
    *,
    num_classes: int | None = None,
    null_label: int | None = None,
    p_uncond: float | None = None,
    sigma_data: float = 1.0,
    scale_input: bool = False,
    level_input: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 256,
) -> Denoiser:
    """Make a model of a network: the edge where eps and v become x0.

    Parameters
    ----------
    net : callable (x, level, label) -> output, all with n rows; label ``null_label`` means none
    predicts : "x0", "eps" (x = x0 + sigma eps) or "v" (velocity, of data with ``sigma_data``:
        v = (sigma_data^2 eps - sigma x0) / (sigma_data sqrt(sigma^2 + sigma_data^2)))
    num_classes, null_label, p_uncond : as the network was trained; by default ``net``'s own
        attributes, and ``null_label`` is then num_classes
    sigma_data : float, standard deviation of the data ("v" and ``scale_input`` need it)
    scale_input : bool, give the network x / sqrt(sigma^2 + sigma_data^2), the variance-preserving
        input of most published networks
    level_input : callable (n,) -> (n,), from sigma to what the network takes (a timestep, say)
    batch_size : int, rows in one forward of the network

    Raises
    ------
    ValueError : an unknown ``predicts``, no number of classes, another null label than that

    Source: Karras et al. 2022, table 1; v after Salimans & Ho 2022 (arXiv 2202.00512).
    """
    if predicts not in ("x0", "eps", "v"):
        raise ValueError(
            "The 'predicts' parameter of wrap must be 'x0', 'eps' or 'v'. "
            f"Got {predicts!r} instead."
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"The 'batch_size' parameter of wrap must be an int >= 1. Got {batch_size!r} instead."
        )
    num_classes = getattr(net, "num_classes", None) if num_classes is None else num_classes
    if num_classes is None:
        raise ValueError(
            "The 'num_classes' parameter of wrap must be given where net has no such attribute. "
            "Got None instead."
        )
    null_label = getattr(net, "null_label", num_classes) if null_label is None else null_label
    if isinstance(null_label, int) and null_label != num_classes:
        raise ValueError(
            f"The 'null_label' parameter of wrap must be num_classes, {num_classes}: classes are "
            f"counted from 0. Got {null_label} instead."
        )
    p_uncond = getattr(net, "p_uncond", None) if p_uncond is None else p_uncond
    return Denoiser(
        net,
        predicts,
        num_classes,
        null_label,
        p_uncond,
        sigma_data,
        scale_input,
        level_input,
        batch_size,
    )
