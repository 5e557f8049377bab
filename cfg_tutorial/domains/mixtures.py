"""2-D Gaussian mixtures: every answer in closed form. Knows nothing of samplers."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import require
from cfg_tutorial.diffusion import Gaussian
from cfg_tutorial.domains.base import INVALID, SKEWED, Batch, Domain
from cfg_tutorial.models import GaussianMixture
from cfg_tutorial.networks import MLP


def ring(num_modes: int) -> Tensor:
    """Return centres evenly on the unit circle: (num_modes, 2)."""
    angle = torch.arange(num_modes) * (2 * math.pi / num_modes)
    return torch.stack([angle.cos(), angle.sin()], 1)


def grid(num_modes: int) -> Tensor:
    """Return centres on a square grid with sides 2 long, row by row: (num_modes, 2)."""
    side = math.ceil(math.sqrt(num_modes))
    index = torch.arange(num_modes)
    return 2 * torch.stack([index % side, index // side], 1) / max(side - 1, 1) - 1


def line(num_modes: int) -> Tensor:
    """Return centres evenly on a line from -2 to 2: (num_modes, 2)."""
    return torch.stack([torch.linspace(-2, 2, num_modes), torch.zeros(num_modes)], 1)


LAYOUTS = {"ring": ring, "grid": grid, "line": line}


class Mixtures(Domain):
    """Eight Gaussians in the plane, shared by two classes that weigh them in opposite order.

    Parameters
    ----------
    layout : "ring" (in order of weight, so that the heaviest modes of the two classes are
        neighbours), "grid", "line", or a Tensor (num_modes, 2) of centres
    mode_weights : Tensor (num_classes, num_modes)
    deviation : float, each mode's standard deviation
    """

    name = "mixtures"
    recipe = {"train_steps": 3000, "batch_size": 256, "lr": 3e-3, "ema": 0.998}
    num_threads = 1
    num_shown = 400

    def __init__(
        self, layout: str | Tensor = "ring", mode_weights: Any = SKEWED, deviation: float = 0.1
    ):
        super().__init__(mode_weights)
        if isinstance(layout, str):
            expected = f"one of {sorted(LAYOUTS)} or a (num_modes, 2) tensor"
            require(layout in LAYOUTS, "load('mixtures')", "layout", expected, repr(layout))
            self.layout, centres = layout, LAYOUTS[layout](self.num_modes)
        else:
            self.layout, centres = "own", torch.as_tensor(layout)
        require(deviation > 0, "load('mixtures')", "deviation", "above 0", deviation)
        self.mixture = GaussianMixture(
            centres, torch.full((self.num_modes,), deviation**2), self.mode_weights
        )
        self.deviation = deviation
        total = centres.double().var(0, correction=0).mean() + deviation**2
        # Modes are chosen at high noise: train there more than for pictures.
        self.diffusion = Gaussian(sigma_data=round(math.sqrt(total), 4), p_mean=-0.4, p_std=1.4)
        self.class_names = [f"class {c}" for c in range(self.num_classes)]
        self.mode_names = [f"mode {k}" for k in range(self.num_modes)]
        self.options = {"centres": self.mixture.means.tolist(), "deviation": deviation}
        self.laws["equation"] = self.exact_law

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        return Batch(self.mixture.sample_modes(mode, generator), label, mode)

    def network(self) -> nn.Module:
        return MLP(dim=2, num_classes=self.num_classes)

    def exact(self) -> GaussianMixture:
        mixture = self.mixture
        return GaussianMixture(mixture.means, mixture.variances, mixture.mode_weights)

    def assign(self, x: Tensor) -> Tensor:
        """Return the nearest mode within its radius of probability .999, else -1: (n,)."""
        distance = torch.cdist(
            x.double(), self.mixture.means.to(x.device), compute_mode="donot_use_mm_for_euclid_dist"
        )
        nearest, mode = distance.nan_to_num(torch.inf).min(1)
        return mode.masked_fill(~(nearest <= self.deviation * math.sqrt(-2 * math.log(0.001))), -1)

    def features(self, x: Tensor) -> Tensor:
        return x

    def exact_law(self, scale: float, label: int) -> Tensor:
        """Return the modes' law under guidance with the ODE, without any sampler: (num_modes,)."""
        asked = (float(scale), int(label))
        if asked not in self._laws_found:
            self._laws_found[asked] = self.mixture.guided_weights(*asked)
        return self._laws_found[asked]

    @functools.cached_property
    def _laws_found(self) -> dict[tuple[float, int], Tensor]:
        """What ``exact_law`` has found, each in a while."""
        return {}

    def show(self, x: Tensor, label: Any = None, ax: Any = None) -> Any:
        """Return a figure of the points coloured by mode, invalid ones as grey crosses."""
        from cfg_tutorial.domains.picture import Picture

        figure = Picture(figsize=(3.6, 3.6), layout="constrained") if ax is None else ax.figure
        ax = figure.subplots() if ax is None else ax
        mode, x = self.assign(x).cpu(), x.detach().cpu()
        for k in range(self.num_modes):
            at = x[mode == k]
            colour = self.colour(k)
            ax.scatter(at[:, 0], at[:, 1], s=4, color=colour, linewidths=0)
            centre = self.mixture.means[k]
            ax.annotate(
                str(k), centre * 1.45, ha="center", va="center", color=colour, weight="bold"
            )
        outside = x[mode < 0]
        ax.scatter(outside[:, 0], outside[:, 1], s=9, marker="x", color=INVALID, linewidths=0.7)
        reach = 1.55 * self.mixture.means.abs().max().item() + 2 * self.deviation
        ax.set(
            xlim=(-reach, reach),
            ylim=(-reach, reach),
            aspect="equal",
            xlabel="x (first axis)",
            ylabel="x (second axis)",
        )
        return figure
