"""Models that are exact: nothing is trained. Know nothing of domains, samplers or networks."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_label, check_law, check_tokens, require, shown
from cfg_tutorial.guidance import per_row
from cfg_tutorial.models.laws import guided_law, tilted_law
from cfg_tutorial.models.wrapped import in_slices


class Exact(nn.Module):
    """What exact models share: labels are checked, rows are counted and run in slices."""

    edges: tuple[float, ...] = ()
    batch_size: int
    num_classes: Any
    null_label: Any
    p_uncond = 0.5  # nothing was trained; any share but 0 says that the null label has a meaning
    rows_run = 0

    def _check(self, name: str, value: Tensor, ok: bool, expected: str) -> None:
        ok = ok and bool(torch.isfinite(value).all())
        require(ok, type(self).__name__, name, f"finite, {expected}", lambda: shown(value))

    def _label(self, label: Any, n: int) -> Tensor:
        label = self.null_label if label is None else label
        return check_label(label, n, self.null_label, type(self).__name__)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        self.rows_run += len(x)
        return in_slices(self._predict, self.batch_size, x, level, self._label(label, len(x)))

    def _predict(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        raise NotImplementedError("Each exact model says how.")


class GaussianMixture(Exact):
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

    x may have any shape (n, ...) of d elements a row. Computed in x's type, float32 at least, in
    log space, so that it is finite far from all modes. Lesson: 01_mixtures.
    """

    means: Tensor
    variances: Tensor
    mode_weights: Tensor
    all_weights: Tensor
    batch_size = 1024

    def __init__(self, means: Any, variances: Any, mode_weights: Any):
        super().__init__()
        means, variances, weights = (
            torch.as_tensor(a, dtype=torch.float64) for a in (means, variances, mode_weights)
        )
        self._check("means", means, means.ndim == 2 and len(means) > 0, "a (k, d) tensor")
        shapes = (means.shape[:1], means.shape)
        ok = variances.shape in shapes and bool((variances >= 0).all())
        self._check("variances", variances, ok, f"(k,) or (k, d) and >= 0, with k, d {shapes[1]}")
        expected = f"finite, (num_classes, {len(means)}), each row a law"
        weights = check_law(weights, "GaussianMixture", "mode_weights", expected, len(means))
        self.num_classes = self.null_label = len(weights)
        for name, value in zip(
            ("means", "variances", "mode_weights"), (means, variances, weights), strict=True
        ):
            self.register_buffer(name, value)
        self.register_buffer("all_weights", torch.cat([weights, weights.mean(0, keepdim=True)]))

    def _log_modes(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return log N(x; mean_k, variance_k + sigma^2): (n, k)."""
        flat = x.flatten(1)
        means, variances = self.means.to(x), self.variances.to(x)
        d, noise = means.shape[1], torch.as_tensor(per_row(sigma, flat)) ** 2
        ok = torch.isfinite(noise).all() & (noise.amin() + variances.amin() > 0)
        expected = "finite, and above 0 where a variance is 0"
        require(ok, type(self).__name__, "level", expected, lambda: shown(torch.as_tensor(sigma)))
        if variances.ndim == 1:
            variance = variances + noise
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
        x, label = _wide(x), self._label(label, len(x))
        return self.all_weights.to(x).log()[label] + self._log_modes(x, level)

    def log_prob(self, x: Tensor, level: Tensor | float = 0.0, label: Any = None) -> Tensor:
        """Return log p(x | label) of data with noise sigma = level: (n,); None: the marginal."""
        return self._log_joint(x, level, label).logsumexp(1)

    def mode_posterior(self, x: Tensor, level: Tensor | float = 0.0, label: Any = None) -> Tensor:
        """Return p(mode | x, label): (n, k)."""
        return self._log_joint(x, level, label).softmax(1)

    def denoise(self, x: Tensor, level: Tensor | float, label: Any = None) -> Tensor:
        """Return E[x0 | x, label], in the shape of x (n, ...)."""
        posterior, flat = self.mode_posterior(x, level, label), _wide(x).flatten(1)
        means, variances = self.means.to(flat), self.variances.to(flat)
        sigma = torch.as_tensor(per_row(level, flat))
        if variances.ndim == 1:
            keep = variances / (variances + sigma**2)
            mean = (posterior * (1 - keep)) @ means + (posterior * keep).sum(1, keepdim=True) * flat
        else:
            keep = variances / (
                variances + sigma[..., None] ** 2 if sigma.ndim else variances + sigma**2
            )
            mean = (posterior[..., None] * (means + keep * (flat[:, None] - means))).sum(1)
        return mean.reshape(x.shape).to(x)

    _predict = denoise

    def score(self, x: Tensor, level: Tensor | float, label: Any = None) -> Tensor:
        """Return the gradient in x of log_prob, in the shape of x; level 0 needs variances > 0."""
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_()
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
        """Return the modes' law of samples guided with the ODE, see ``guided_law``: (k,).

        Raises
        ------
        ValueError : variances that differ, or too large for the modes to be separate

        Lesson: 01_mixtures.
        """
        require(math.isfinite(scale), "guided_weights", "scale", "finite", scale)
        self._label(label, 1)
        own, mean = self.all_weights[int(label)], self.all_weights[-1]
        return guided_law(self.means, self.variances, own, mean, float(scale))


class Empirical(GaussianMixture):
    """The ideal denoiser of a data set, which copies the data: the mixture with variance 0.

    Parameters
    ----------
    x : Tensor (n, *shape), the data
    mode : Tensor (n,) of int, the mode of each, which share the mode's weight evenly
    mode_weights : Tensor (num_classes, num_modes), rows sum to 1

    Source: Karras et al. 2022, appendix B.3 (arXiv 2206.00364). Lesson: 02_images.
    """

    batch_size = 256  # each row meets all the data: of 6,000 clips, twice as fast as 1,024 rows

    def __init__(self, x: Tensor, mode: Tensor, mode_weights: Tensor):
        weights = mode_weights[:, mode] / torch.bincount(mode)[mode]
        super().__init__(x.flatten(1), torch.zeros(len(x)), weights)


def _wide(x: Tensor) -> Tensor:
    """Return x in float32 at least: squares of distances need its digits and its range."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class TokenMixture(Exact):
    """A mixture of laws under which places are independent: an exact model of tokens.

    Called as a model, (tokens, level, label) -> log-probabilities (n, length, vocab_size) of
    float64: the law of each masked place given the places that are not; the level is not needed.
    Places that no row can have together, as parallel steps may reveal, are taken to say nothing.
    A component of one row alone makes it the law of a list of rows. Rows may be longer than
    ``tables`` with padding, which changes nothing.

    Parameters
    ----------
    tables : Tensor (components, length, vocab_size), each place a law
    weights : Tensor (num_classes, components), each row p(component | class), classes equally
        likely; or, for labels of k parts, (*num_classes, components), proportional to
        p(label, component). A null part is one that is not known.
    component_modes : Tensor (components,) of int, the mode of each; its own number unless given

    Raises
    ------
    ValueError : shapes that do not agree, or rows that are not laws

    Lesson: 03_text_tokens.
    """

    tables: Tensor
    log_tables: Tensor
    log_weights: Tensor
    log_prior: Tensor
    component_modes: Tensor
    batch_size = 256

    def __init__(self, tables: Any, weights: Any, component_modes: Any = None):
        super().__init__()
        tables, weights = (torch.as_tensor(a, dtype=torch.float64) for a in (tables, weights))
        ok = tables.ndim == 3 and tables.numel() > 0 and bool((tables >= 0).all())
        ok = ok and bool(((tables.sum(-1) - 1).abs() < 1e-6).all())
        self._check("tables", tables, ok, "(components, length, words), each place a law")
        ok = weights.ndim >= 2 and weights.shape[-1] == len(tables) and bool((weights >= 0).all())
        ok = ok and (weights.ndim > 2 or bool(((weights.sum(1) - 1).abs() < 1e-6).all()))
        ok = ok and bool(weights.sum() > 0)
        self._check("weights", weights, ok, f"(num_classes, {len(tables)}), each row a law")
        self.length, self.vocab_size = tables.shape[1:]
        self.mask_token, self.pad_token = self.vocab_size, self.vocab_size + 1
        sizes = list(weights.shape[:-1])
        self.num_classes: Any = sizes[0] if len(sizes) == 1 else torch.tensor(sizes)
        self.null_label = self.num_classes
        prior = weights.flatten(1).sum(1)  # of the first part
        for part in range(len(sizes)):  # a null part is summed out
            weights = torch.cat([weights, weights.sum(part, keepdim=True)], part)
        weights = weights / weights.sum(-1, keepdim=True)
        # Masked and padded places say nothing: log 1.
        silent = torch.zeros(*tables.shape[:2], 2, dtype=torch.float64)
        log_tables = torch.cat([tables.log(), silent], 2).permute(1, 2, 0).contiguous()
        modes = torch.arange(len(tables)) if component_modes is None else component_modes
        self.register_buffer("tables", tables)
        self.register_buffer("log_tables", log_tables)
        self.register_buffer("log_weights", weights.nan_to_num(0).log())
        self.register_buffer("log_prior", prior.log())
        self.register_buffer("component_modes", torch.as_tensor(modes))
        self.num_modes = int(self.component_modes.max()) + 1

    def _weights_of(self, label: Any, n: int) -> Tensor:
        """Return log p(component | label): (n, components)."""
        label = self._label(label, n).to(self.tables.device)
        return self.log_weights[tuple(label.reshape(n, -1).unbind(1))]

    def _log_joint(self, tokens: Tensor, label: Any) -> Tensor:
        """Return log p(component, the places that are not masked | label): (n, components)."""
        tokens = check_tokens(tokens, self, "TokenMixture")
        beyond = tokens[:, self.length :]
        ok = tokens.shape[1] >= self.length and not (beyond != self.pad_token).any()
        expected = f"must have {self.length} places and then padding alone"
        require(ok, "TokenMixture", "tokens", expected, f"shape {tuple(tokens.shape)}")
        places = zip(self.log_tables, tokens.T, strict=False)
        return sum((table[words] for table, words in places), self._weights_of(label, len(tokens)))

    def log_prob(self, tokens: Tensor, label: Any = None) -> Tensor:
        """Return log p(places that are not masked | label): (n,); None: no class given."""
        return self._log_joint(tokens, label).logsumexp(1)

    def component_posterior(self, tokens: Tensor, label: Any = None) -> Tensor:
        """Return p(component | places that are not masked, label): (n, components).

        Where no row has these places together: p(component | label).
        """
        joint = self._log_joint(tokens, label)
        possible = joint.isfinite().any(1, keepdim=True)
        return torch.where(possible, joint, self._weights_of(label, len(tokens))).softmax(1)

    def mode_posterior(self, tokens: Tensor, label: Any = None) -> Tensor:
        """Return p(mode | places that are not masked, label): (n, num_modes)."""
        found = self.component_posterior(tokens, label)
        return found.new_zeros(len(found), self.num_modes).index_add(1, self.component_modes, found)

    def posterior(self, tokens: Tensor) -> Tensor:
        """Return p(class | places that are not masked): (n, num_classes), of a label of several
        parts the law of the first; NaN where no row has these places together."""
        null = torch.as_tensor(self.null_label).reshape(-1)
        each = []
        for c in range(int(null[0])):
            label = torch.cat([null.new_tensor([c]), null[1:]]).reshape_as(null)
            label = label[0] if len(null) == 1 else label
            each.append(self.log_prob(tokens, label))
        return (torch.stack(each, 1) + self.log_prior).softmax(1)

    def _predict(self, tokens: Tensor, level: Tensor, label: Tensor) -> Tensor:
        posterior = self.component_posterior(tokens, label)
        law = (posterior @ self.tables.flatten(1)).view(-1, self.length, self.vocab_size)
        extra = tokens.shape[1] - self.length
        if extra:  # nothing is known of padding
            law = nn.functional.pad(law, (0, 0, 0, extra), value=1 / self.vocab_size)
        known = tokens < self.vocab_size  # a word that is seen is certain
        certain = nn.functional.one_hot(tokens.clamp(max=self.vocab_size - 1), self.vocab_size)
        return torch.where(known[..., None], certain.to(law), law).log()

    def sample(
        self, n: int, label: Any = None, seed: int = 0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return n rows (n, length) of p(tokens | label)."""
        generator = generator or torch.Generator().manual_seed(seed)
        law = self._weights_of(label, n).exp()
        return self.sample_components(_draw(law, generator), generator)

    def sample_components(self, component: Tensor, generator: torch.Generator) -> Tensor:
        """Return a row of each component in ``component`` (n,): (n, length)."""
        return _draw(self.tables[component], generator)

    def entropy(self, label: Any) -> float:
        """Return the entropy of p(tokens | label) in nats, where a row tells its component."""
        law = self._weights_of(label, 1)[0].exp()
        inside = torch.special.entr(self.tables).sum((1, 2))
        return (torch.special.entr(law).sum() + law @ inside).item()

    def tilted_weights(self, scale: float, label: int) -> Tensor:
        """Return the modes' law under p(row | label)^scale p(row)^(1 - scale): (num_modes,).

        Exact where a row tells its component, as in all of ours.
        """
        null = self._weights_of(None, 1)[0]
        own = self._weights_of(label, 1)[0]
        log = torch.where(own.isfinite(), scale * own + (1 - scale) * null, -torch.inf)
        law = (null if scale == 0 else log).softmax(0)
        return law.new_zeros(self.num_modes).index_add(0, self.component_modes, law)


def _draw(law: Tensor, generator: torch.Generator) -> Tensor:
    """Return a draw of each law in ``law`` (..., k): (...)."""
    return place_luck(law, torch.rand(law.shape[:-1], generator=generator, dtype=law.dtype))


def place_luck(law: Tensor, luck: Tensor) -> Tensor:
    """Return where ``luck`` (...), from 0 to 1, falls in each law (..., k): (...)."""
    cdf = law.cumsum(-1)
    return torch.searchsorted(cdf, luck[..., None] * cdf[..., -1:], right=True)[..., 0]
