"""2-D Gaussian mixtures: every answer in closed form. Knows nothing of samplers."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.diffusion import Gaussian, in_slices, per_row
from cfg_tutorial.domains.base import SKEWED, Batch, Domain
from cfg_tutorial.guidance import check_label
from cfg_tutorial.measures import tilted_law
from cfg_tutorial.networks import MLP

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B8A800", "#555555"]


class GaussianMixture(nn.Module):
    """Gaussians shared by the classes, each class with its own weights: an exact model.

    Called as a model, (x, sigma, label) -> E[x0 | x]. The null label is the mean over classes,
    the class prior being uniform. Variance 0 makes it the ideal denoiser of a data set.

    Parameters
    ----------
    means : Tensor (k, d)
    variances : Tensor (k,) isotropic or (k, d) per axis, >= 0
    mode_weights : Tensor (num_classes, k), rows sum to 1

    Raises
    ------
    ValueError : shapes that do not agree, a negative variance, or weights that are not a law

    x may have any shape (n, ...) of d elements a row. Computed in x's type, in log space, so that
    it is finite far from all modes. Lesson: 01_mixtures.
    """

    means: Tensor
    variances: Tensor
    mode_weights: Tensor
    all_weights: Tensor
    edges: tuple[float, ...] = ()
    batch_size = 1024
    p_uncond = 0.5  # nothing was trained; any share but 0 says that the null label has a meaning

    def __init__(self, means: Any, variances: Any, mode_weights: Any):
        super().__init__()
        means, variances, weights = (
            torch.as_tensor(a, dtype=torch.float64) for a in (means, variances, mode_weights)
        )
        self._check("means", means, means.ndim == 2 and len(means) > 0, "a (k, d) tensor")
        shapes = (means.shape[:1], means.shape)
        ok = variances.shape in shapes and bool((variances >= 0).all())
        self._check("variances", variances, ok, f"(k,) or (k, d) and >= 0, with k, d {shapes[1]}")
        ok = weights.ndim == 2 and weights.shape[1:] == shapes[0] and bool((weights >= 0).all())
        ok = ok and bool(
            torch.allclose(weights.sum(1), torch.ones(len(weights)).double(), atol=1e-5)
        )
        self._check("mode_weights", weights, ok, f"(num_classes, {len(means)}), each row a law")
        self.num_classes = self.null_label = len(weights)
        for name, value in zip(
            ("means", "variances", "mode_weights"), (means, variances, weights), strict=True
        ):
            self.register_buffer(name, value)
        self.register_buffer("all_weights", torch.cat([weights, weights.mean(0, keepdim=True)]))
        self.rows_run = 0

    @staticmethod
    def _check(name: str, value: Tensor, ok: bool, expected: str) -> None:
        if not ok or not torch.isfinite(value).all():
            raise ValueError(
                f"The '{name}' parameter of GaussianMixture must be finite, {expected}. "
                f"Got shape {tuple(value.shape)}, {str(value.tolist())[:60]}, instead."
            )

    def _label(self, label: Any, n: int) -> Tensor:
        label = self.null_label if label is None else label
        return check_label(label, n, self.null_label, "GaussianMixture")

    def _log_modes(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return log N(x; mean_k, variance_k + sigma^2): (n, k)."""
        flat = x.flatten(1)
        means, variances = self.means.to(x), self.variances.to(x)
        d = means.shape[1]
        if variances.ndim == 1:
            variance = variances + per_row(sigma, flat) ** 2
            # Few dimensions: subtract first, since expanding the square loses digits far away.
            how = "donot_use_mm_for_euclid_dist" if d <= 16 else "use_mm_for_euclid_dist"
            distance = torch.cdist(flat, means, compute_mode=how) ** 2
            return -distance / (2 * variance) - d / 2 * (2 * math.pi * variance).log()
        variance = variances + per_row(sigma, flat[:, None]) ** 2
        return (
            -((flat[:, None] - means) ** 2 / variance + (2 * math.pi * variance).log()).sum(-1) / 2
        )

    def _log_joint(self, x: Tensor, level: Tensor | float, label: Any) -> Tensor:
        """Return log p(mode, x | label) at a level: (n, k)."""
        label = self._label(label, len(x))
        return self.all_weights.to(x).log()[label] + self._log_modes(x, level)

    def log_prob(self, x: Tensor, level: Tensor | float = 0.0, label: Any = None) -> Tensor:
        """Return log p(x | label) of data with noise sigma = level: (n,); None: the marginal."""
        return self._log_joint(x, level, label).logsumexp(1)

    def mode_posterior(self, x: Tensor, level: Tensor | float = 0.0, label: Any = None) -> Tensor:
        """Return p(mode | x, label): (n, k)."""
        return self._log_joint(x, level, label).softmax(1)

    def denoise(self, x: Tensor, level: Tensor | float, label: Any = None) -> Tensor:
        """Return E[x0 | x, label], in the shape of x (n, ...)."""
        posterior, flat = self.mode_posterior(x, level, label), x.flatten(1)
        means, variances = self.means.to(x), self.variances.to(x)
        sigma = torch.as_tensor(per_row(level, flat))
        if variances.ndim == 1:
            keep = variances / (variances + sigma**2)
            mean = (posterior * (1 - keep)) @ means + (posterior * keep).sum(1, keepdim=True) * flat
        else:
            keep = variances / (
                variances + sigma[..., None] ** 2 if sigma.ndim else variances + sigma**2
            )
            mean = (posterior[..., None] * (means + keep * (flat[:, None] - means))).sum(1)
        return mean.reshape(x.shape)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        self.rows_run += len(x)
        return in_slices(self.denoise, self.batch_size, x, level, self._label(label, len(x)))

    def score(self, x: Tensor, level: Tensor | float, label: Any = None) -> Tensor:
        """Return the gradient in x of log_prob, in the shape of x; level 0 needs variances > 0."""
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            return torch.autograd.grad(self.log_prob(at, level, label).sum(), at)[0]

    def posterior(self, x: Tensor, level: Tensor | float = 0.0) -> Tensor:
        """Return p(class | x) of data with noise sigma = level: (n, num_classes)."""
        each = [self.log_prob(x, level, label) for label in range(self.num_classes)]
        return torch.stack(each, 1).softmax(1)

    def sample(
        self, n: int, label: Any = None, seed: int = 0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return n draws (n, d) of p(x | label), in torch's default type."""
        generator = generator or torch.Generator().manual_seed(seed)
        label = self._label(label, n)
        mode = torch.multinomial(self.all_weights[label], 1, True, generator=generator)[:, 0]
        return self.sample_modes(mode, generator)

    def sample_modes(self, mode: Tensor, generator: torch.Generator) -> Tensor:
        """Return a draw of each mode in ``mode`` (n,): (n, d) in the default type."""
        deviation = self.variances[mode].reshape(len(mode), -1).sqrt()
        eps = torch.randn(
            len(mode), self.means.shape[1], generator=generator, dtype=self.means.dtype
        )
        return (self.means[mode] + deviation * eps).to(torch.get_default_dtype())

    def tilted_weights(self, scale: float, label: int) -> Tensor:
        """Return the modes' law under p(mode | label)^scale p(mode)^(1 - scale): (k,) of float64.

        The law that guidance is often said to sample. It is not: see ``guided_weights``.
        """
        self._label(label, 1)
        return tilted_law(self.mode_weights, scale, label)

    def guided_weights(self, scale: float, label: int) -> Tensor:
        """Return the modes' law of samples guided with the ODE: (k,) of float64.

        Exact for separated modes of one variance, by the flow itself and without the samplers:
        with y = x / sqrt(v + sigma^2) and u = 1 / sqrt(v + sigma^2), dy/du is the mean of the mode
        centres under softmax(log weights + u y.mean - u^2 |mean|^2 / 2), combined as ``guide``
        does, and y is standard normal at u = 0. In one dimension the borders are found by
        bisection; else 16,384 quasi-random starts are followed (error about .001).

        Raises
        ------
        ValueError : variances that differ, or too large for the modes to be separate

        Source: probability-flow ODE, Song et al. 2021 (arXiv 2011.13456), in these coordinates.
        Lesson: 01_mixtures.
        """
        if not math.isfinite(scale):
            raise ValueError(
                f"The 'scale' parameter of guided_weights must be finite. Got {scale} instead."
            )
        self._label(label, 1)
        return _guided_weights(self, float(scale), int(label))


def _guided_weights(mix: GaussianMixture, scale: float, label: int) -> Tensor:
    means, k = mix.means - mix.means.mean(0), len(mix.means)  # a shift of all data changes nothing
    gaps = (
        torch.cdist(means, means)[~torch.eye(k, dtype=torch.bool)] if k > 1 else means.new_ones(1)
    )
    variance = mix.variances.max().item()
    separate = gaps.min().item() >= 4 * math.sqrt(variance)
    if not separate or mix.variances.min() < variance * (1 - 1e-6):
        raise ValueError(
            "The 'variances' parameter of GaussianMixture must be one number, at most 1/16 of the "
            f"least squared distance of modes, for guided_weights. Got {mix.variances.min():.4g} "
            f"to {variance:.4g}, least distance {gaps.min():.4g} instead."
        )
    end = min(1 / math.sqrt(variance) if variance else math.inf, 12 / gaps.min().item())
    num_steps = math.ceil(end * gaps.max().item() / 0.3)
    own, mean = mix.all_weights[label].log(), mix.all_weights[-1].log()
    squares = means.square().sum(1) / 2

    def slope(y: Tensor, u: float) -> Tensor:
        logits = u * (y @ means.T) - u**2 * squares
        shares = torch.lerp((logits + mean).softmax(1), (logits + own).softmax(1), scale)
        return shares @ means

    def fate(y: Tensor) -> Tensor:
        du = end / num_steps
        for i in range(num_steps):
            u = i * du
            a = slope(y, u)
            b = slope(y + du / 2 * a, u + du / 2)
            c = slope(y + du / 2 * b, u + du / 2)
            y = y + du / 6 * (a + 2 * b + 2 * c + slope(y + du * c, u + du))
        return torch.cdist(y / end, means).argmin(1)

    d = means.shape[1]
    if d > 1:
        uniform = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(2**14).double()
        start = torch.special.ndtri(uniform.clamp(1e-7, 1 - 1e-7))
        return torch.bincount(fate(start), minlength=k).double() / len(start)
    grid = torch.linspace(-9, 9, 4097, dtype=torch.float64)
    modes = fate(grid[:, None])
    jump = (modes.diff() != 0).nonzero()[:, 0]
    low, high = grid[jump], grid[jump + 1]
    for _ in range(40):
        middle = (low + high) / 2
        left = fate(middle[:, None]) == modes[jump] if len(jump) else middle > 0
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    borders = torch.special.ndtr(torch.cat([low.new_tensor([-40.0]), low, low.new_tensor([40.0])]))
    kinds = modes[torch.cat([jump, jump.new_tensor([len(grid) - 1])])]
    return torch.zeros(k, dtype=torch.float64).index_add(0, kinds, borders.diff())


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
            if layout not in LAYOUTS:
                raise ValueError(
                    f"The 'layout' parameter of load('mixtures') must be one of {sorted(LAYOUTS)} "
                    f"or a (num_modes, 2) tensor. Got {layout!r} instead."
                )
            self.layout, centres = layout, LAYOUTS[layout](self.num_modes)
        else:
            self.layout, centres = "own", torch.as_tensor(layout)
        self.mixture = GaussianMixture(
            centres, torch.full((self.num_modes,), deviation**2), self.mode_weights
        )
        self.deviation = deviation
        total = centres.double().var(0, correction=0).mean() + deviation**2
        # Modes are chosen at high noise: train there more than for pictures.
        self.diffusion = Gaussian(sigma_data=round(math.sqrt(total), 4), p_mean=-0.4, p_std=1.4)
        self.class_names = [f"class {c}" for c in range(self.num_classes)]
        self.mode_names = [f"mode {k}" for k in range(self.num_modes)]

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "centres": self.mixture.means.tolist(),
            "deviation": self.deviation,
        }

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        return Batch(self.mixture.sample_modes(mode, generator), label, mode)

    def network(self) -> nn.Module:
        return MLP(dim=2, num_classes=self.num_classes)

    def exact(self) -> GaussianMixture:
        return GaussianMixture(
            self.mixture.means, self.mixture.variances, self.mixture.mode_weights
        )

    def assign(self, x: Tensor) -> Tensor:
        """Return the nearest mode within its radius of probability .999, else -1: (n,)."""
        distance = torch.cdist(
            x.double(), self.mixture.means.to(x.device), compute_mode="donot_use_mm_for_euclid_dist"
        )
        nearest, mode = distance.nan_to_num(torch.inf).min(1)
        return mode.masked_fill(~(nearest <= self.deviation * math.sqrt(-2 * math.log(0.001))), -1)

    def features(self, x: Tensor) -> Tensor:
        return x

    @functools.lru_cache(maxsize=64)  # noqa: B019  domains live as long as their session
    def _exact_law(self, scale: float, label: int) -> Tensor:
        return self.mixture.guided_weights(scale, label)

    def exact_law(self, scale: float, label: int) -> Tensor:
        """Return the modes' law under guidance with the ODE, without any sampler: (num_modes,)."""
        return self._exact_law(float(scale), int(label))

    def show(self, x: Tensor, label: Any = None, ax: Any = None) -> Any:
        """Return a figure of the points coloured by mode, invalid ones as grey crosses."""
        import matplotlib.pyplot as plt

        figure, ax = (
            plt.subplots(figsize=(3.6, 3.6), layout="constrained")
            if ax is None
            else (ax.figure, ax)
        )
        mode, x = self.assign(x).cpu(), x.detach().cpu()
        for k in range(self.num_modes):
            at = x[mode == k]
            colour = COLOURS[k % len(COLOURS)]
            ax.scatter(at[:, 0], at[:, 1], s=4, color=colour, linewidths=0)
            centre = self.mixture.means[k]
            ax.annotate(
                str(k), centre * 1.45, ha="center", va="center", color=colour, weight="bold"
            )
        outside = x[mode < 0]
        ax.scatter(outside[:, 0], outside[:, 1], s=9, marker="x", color="#999999", linewidths=0.7)
        reach = 1.55 * self.mixture.means.abs().max().item() + 2 * self.deviation
        ax.set(
            xlim=(-reach, reach),
            ylim=(-reach, reach),
            aspect="equal",
            xlabel="x (first axis)",
            ylabel="x (second axis)",
        )
        return figure
