"""Arrays of one's own as a domain: points, pictures or rows of tokens. Knows no files."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_count, require
from cfg_tutorial.diffusion import Gaussian, Masked
from cfg_tutorial.domains.base import INVALID, Batch, Domain
from cfg_tutorial.domains.given import found_modes, numbered, rows_of_numbers
from cfg_tutorial.keys import key_of
from cfg_tutorial.models import Empirical, TokenMixture
from cfg_tutorial.networks import MLP, Transformer, UNet
from cfg_tutorial.samplers import sample_unmask

FEWEST = 5  # rows of a class, and of a mode
HELD_OUT = 5  # one row in so many is held out
MOST_COPIED, MOST_READ = 2000, 5000  # rows of the exact model, and of the reader
SIGMA_DATA = 0.5  # what numbers are scaled to: then defaults of noise levels fit
NUM_FEATURES = 32
MARGIN = 1.1  # how much farther than held-out rows a valid sample may be


class Arrays(Domain):
    """Data of one's own, see ``from_arrays``.

    Classes are equally likely, and each has the modes' shares of its rows.
    """

    name = "arrays"
    said = ""  # what the data are, in a line

    def __init__(
        self,
        x: Tensor,
        label: Tensor,
        mode: Tensor,
        names: tuple[list[str], list[str]],
        *,
        name: str,
        kind: str,
        scale: tuple[Any, Any],
        network: Any,
        train_steps: int | None,
        valid_share: float,
        centres: Tensor | None,
        weights: Any = None,
        sigma_data: float | None = None,
    ):
        self.name, self.kind, self.scale, self.valid_share = name, kind, scale, valid_share
        self.class_names, self.mode_names = names
        cell = label * len(names[1]) + mode
        counts = torch.bincount(cell, minlength=len(names[0]) * len(names[1]))
        shares = counts.view(len(names[0]), -1).double()
        super().__init__(shares / shares.sum(1, keepdim=True) if weights is None else weights)
        ok, got = self.mode_weights.shape == shares.shape, tuple(self.mode_weights.shape)
        expected = f"of shape {tuple(shares.shape)}, classes by modes"
        require(ok, "from_arrays", "mode_weights", expected, got)
        self.centres, self._given = centres, network
        self.rows = {
            part: _Rows(x[own], label[own], mode[own], len(self.classes), self.num_modes)
            for part, own in zip((True, False), _split(x, cell), strict=True)
        }
        train = self.rows[False]
        if kind == "tokens":
            words = len(scale[0])
            self.diffusion: Any = Masked(words, words, words + 1)
            self.sampler, self.num_steps = sample_unmask, x.shape[1]
        else:
            spread = train.x.double().std().item() if sigma_data is None else float(sigma_data)
            self.diffusion = Gaussian(sigma_data=round(spread, 4), p_mean=-0.6, p_std=1.4)
        self.num_shown = {"points": 400, "pictures": 16, "tokens": 12}[kind]
        self._project = _Projection(train.x, kind, len(scale[0]) if kind == "tokens" else 0)
        self._known = self._project(train.x[train.some(MOST_READ)])
        self._known_mode = train.mode[train.some(MOST_READ)]
        few = int(torch.bincount(self._known_mode, minlength=self.num_modes).min())
        self._neighbours = 5 if few >= FEWEST else 1
        self._axes = _axes(self._known)
        held_out = self.rows[True]
        far = self._nearest(held_out.x[held_out.some(MOST_READ)])[1]
        self.limit = MARGIN * far.quantile(valid_share).item() + 1e-6
        self.recipe: dict[str, Any] = {"batch_size": 128 if kind == "pictures" else 256}
        self.recipe |= {"lr": 2e-3, "ema": 0.998, "train_steps": train_steps or self._steps()}
        made_by = [x, label, mode, kind, scale, valid_share]
        self.options = {"data": key_of(made_by)[:16]}

    def _steps(self) -> int:
        if self.kind != "pictures":
            return {"points": 3000, "tokens": 1000}[self.kind]
        return max(100, min(900, 900 * 16**2 // math.prod(self.shape[1:])))

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n rows: the class, its mode by its share, then any row of both."""
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        return Batch(self.rows[held_out].pick(label, mode, generator), label, mode)

    def network(self) -> nn.Module:
        """Return the network that was given, a copy of it, or one for this kind of data."""
        if self._given is not None:
            given = self._given
            return copy.deepcopy(given) if isinstance(given, nn.Module) else given()
        if self.kind == "pictures":
            return UNet(self.num_classes, colours=self.shape[0])
        if self.kind == "points":
            return MLP(self.shape[0], self.num_classes, hidden=192)
        vocab_size = self.diffusion.vocab_size
        return Transformer(vocab_size, [self.num_classes], longest=self.shape[0] + 1)

    def exact(self) -> Any:
        """Return the ideal model of at most 2,000 of the rows to train on: it copies them."""
        train = self.rows[False]
        most = MOST_COPIED
        if self.kind == "tokens":
            most = min(most, max(1, 10**7 // (self.shape[0] * self.diffusion.vocab_size)))
        some = train.some(most)
        x, label, mode = train.x[some], train.label[some], train.mode[some]
        cell = label * self.num_modes + mode
        each = self.mode_weights.flatten()[cell] / torch.bincount(cell)[cell]
        weights = nn.functional.one_hot(label, self.num_classes).T * each
        weights = weights / weights.sum(1, keepdim=True)
        if self.kind != "tokens":
            return Empirical(x, torch.arange(len(x)), weights)
        tables = nn.functional.one_hot(x, self.diffusion.vocab_size)
        return TokenMixture(tables, weights, mode)

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mode of each x, as its nearest rows have it, and the distance of the first."""
        modes, far = [], []
        for part in self._project(x).split(500):
            distance, place = torch.cdist(part, self._known).topk(self._neighbours, largest=False)
            near = nn.functional.one_hot(self._known_mode[place], self.num_modes).double()
            votes = (near / (1 + torch.arange(self._neighbours)[:, None] / 100)).sum(1)
            if self.centres is not None:
                votes = -torch.cdist(part, self.centres)
            modes.append(votes.argmax(1))
            far.append(distance[:, 0])
        return torch.cat(modes), torch.cat(far)

    def assign(self, x: Tensor) -> Tensor:
        """Return the mode of the nearest rows (of the nearest centre, where modes were found).

        -1 : farther from all rows than ``valid_share`` of the held-out rows are, or not finite
        """
        x = x.detach().cpu()
        if self.kind == "tokens":
            known = (x >= 0).all(1) & (x < self.diffusion.vocab_size).all(1)
        else:
            known = torch.isfinite(x.flatten(1)).all(1)
        mode = torch.full((len(x),), -1)
        if known.any():
            read, far = self._nearest(x[known])
            mode[known] = read.masked_fill(far > self.limit, -1)
        return mode

    def reader_errors(self) -> Tensor | None:
        """Return how held-out rows are read: (num_modes, num_modes), row the true mode."""
        if self.centres is not None:
            return None
        held_out = self.rows[True]
        read, _ = self._nearest(held_out.x)
        table = torch.zeros(self.num_modes, self.num_modes, dtype=torch.float64)
        table.index_put_((held_out.mode, read), torch.ones(len(read)).double(), accumulate=True)
        table += 1e-9 * torch.eye(self.num_modes)  # a mode of which no row is held out
        return table / table.sum(1, keepdim=True)

    def features(self, x: Tensor) -> Tensor:
        """Return the numbers themselves, or where they are many 32 principal components: (n, d)."""
        mean, axes = self._axes
        return (self._project(x.detach().cpu()) - mean) @ axes

    def decode(self, x: Tensor) -> Any:
        """Return samples as the arrays were: an array (n, ...) in their units, layout and type."""
        first, second = self.scale
        x = x.detach().cpu()
        if self.kind == "tokens":
            return first[x.clamp(0, len(first) - 1).numpy()]
        return (x.double() * second + first).numpy()

    def show(self, x: Tensor, label: Any = None) -> Any:
        """Draw samples: points on two axes, pictures, or rows of words, coloured by mode."""
        from cfg_tutorial.domains.picture import Picture, plain

        x = x.detach().cpu()
        mode = self.assign(x).tolist()
        said = ""
        if isinstance(label, int) and label < len(self.classes):
            said = plain(f"class {label}: {self.class_names[label]}")
        if self.kind == "points":
            figure = Picture(figsize=(5.2, 3.8), layout="constrained")
            _draw_points(figure.subplots(), self, x, mode)
        elif self.kind == "pictures":
            x, columns = x[:40], 8
            rows = -(-len(x) // columns)
            figure = Picture(figsize=(0.72 * columns, 0.86 * rows + 0.25), layout="constrained")
            axes = [*figure.subplots(rows, columns, squeeze=False).flat]
            _draw_pictures(axes, self, x, mode)
        else:
            x = x[:24]
            figure = Picture(figsize=(5.6, 0.24 * len(x) + 0.4))
            figure.add_axes((0, 0, 1, 1)).set_axis_off()
            for i, (row, k) in enumerate(zip(self.decode(x), mode, strict=False)):
                name = self.mode_names[k] if k >= 0 else "invalid"
                text = plain(f"{name}:  {' '.join(map(str, row))}")
                at = (len(x) - i - 0.5) * 0.24 / figure.get_figheight()
                figure.text(0.01, at, text, fontsize=8, color=self.colour(k), va="center")
        figure.suptitle(said, fontsize=9)
        return figure


class _Rows:
    """Rows of data in order of class and mode, from which one of a class and mode is drawn."""

    def __init__(self, x: Tensor, label: Tensor, mode: Tensor, num_classes: int, num_modes: int):
        self.num_modes, cell = num_modes, label * num_modes + mode
        order = cell.argsort(stable=True)
        self.x, self.label, self.mode = x[order], label[order], mode[order]
        self.count = torch.bincount(cell, minlength=num_classes * num_modes)
        self.start = self.count.cumsum(0) - self.count
        # A class's mode of which this part has no row: any class's rows of the mode stand in.
        by_mode = self.mode.argsort(stable=True)
        size = torch.bincount(self.mode, minlength=num_modes)
        self.index = torch.cat([torch.arange(len(x)), by_mode])
        empty = (self.count == 0).nonzero()[:, 0]
        self.count[empty] = size[empty % num_modes]
        self.start[empty] = len(x) + (size.cumsum(0) - size)[empty % num_modes]

    def pick(self, label: Tensor, mode: Tensor, generator: torch.Generator) -> Tensor:
        """Return a row of each class and mode: (n, *shape)."""
        cell = label * self.num_modes + mode
        luck = torch.rand(len(cell), generator=generator, dtype=torch.float64)
        return self.x[self.index[self.start[cell] + (luck * self.count[cell]).long()]]

    def some(self, most: int) -> Tensor:
        """Return places of at most so many rows, of each class and mode its share."""
        n = len(self.x)
        return torch.arange(n) if n <= most else torch.arange(most) * n // most


def _split(x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return which rows are held out and which are not, of each class and mode a fifth.

    Copies of a row that is trained on are trained on as well, but for tokens, which are few.
    """
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(x), generator=generator)
    order = order[cell[order].argsort(stable=True)]
    count = torch.bincount(cell)[cell[order]]
    start = torch.bincount(cell).cumsum(0)[cell[order]] - count
    rank = torch.arange(len(x)) - start
    held_out = torch.zeros(len(x), dtype=torch.bool)
    held_out[order] = (rank % HELD_OUT == 0) & (count > 1)
    if not x.is_floating_point():
        return held_out, ~held_out
    _, same = torch.unique(x.flatten(1), dim=0, return_inverse=True)
    trained = torch.zeros(int(same.max()) + 1, dtype=torch.bool).index_fill(
        0, same[~held_out], True
    )
    held_out &= ~trained[same]
    expected, got = "of rows that differ", "so many copies that none can be held out"
    require(held_out.any(), "from_arrays", "x", expected, got)
    return held_out, ~held_out


class _Projection:
    """Takes x (n, *shape) to numbers (n, d) whose distances are compared.

    Of tokens a random direction for each word at each place: rows that differ more are farther
    apart.
    """

    def __init__(self, x: Tensor, kind: str, words: int):
        self.table = None
        if kind == "tokens":
            generator = torch.Generator().manual_seed(0)
            self.table = torch.randn(x.shape[1], words, 128, generator=generator) / 16

    def __call__(self, x: Tensor) -> Tensor:
        if self.table is None:
            return x.flatten(1).float()
        return self.table[torch.arange(x.shape[1]), x].sum(1)


def _axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of x (n, d) and the axes (d, at most 32) that its features are taken on."""
    mean = x.mean(0)
    if x.shape[1] <= NUM_FEATURES:
        return mean, torch.eye(x.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mean, torch.pca_lowrank(x - mean, q=min(NUM_FEATURES, len(x) - 1))[2]


def _draw_points(ax: Any, domain: Arrays, x: Tensor, mode: list[int]) -> None:
    from cfg_tutorial.domains.picture import plain

    _, _, axes = torch.pca_lowrank(domain._known - domain._known.mean(0), q=min(2, x.shape[1]))
    low = torch.eye(x.shape[1]) if x.shape[1] <= 2 else axes
    behind, points = domain._known @ low, x.flatten(1).float() @ low
    if low.shape[1] == 1:
        behind, points = (torch.cat([p, torch.rand_like(p)], 1) for p in (behind, points))
    ax.plot(*behind[:2000].T, ".", color="#DDDDDD", markersize=3, zorder=0, label="data")
    kinds, at = sorted({*mode}), torch.tensor(mode)
    for k in kinds:
        name = domain.mode_names[k] if k >= 0 else "invalid"
        look = {"marker": "." if k >= 0 else "x", "markersize": 4, "color": domain.colour(k)}
        ax.plot(*points[at == k].T, linestyle="none", label=plain(name), **look)
    what = "feature" if x.shape[1] <= 2 else "principal axis"
    ax.set(xlabel=f"{what} 1", ylabel=f"{what} 2" if low.shape[1] > 1 else "")
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_pictures(axes: Any, domain: Arrays, x: Tensor, mode: list[int]) -> None:
    from cfg_tutorial.domains.picture import plain

    low, high = domain.rows[False].x.amin(), domain.rows[False].x.amax()
    for ax in axes:
        ax.set_axis_off()
    for ax, picture, k in zip(axes, x, mode, strict=False):
        shown = ((picture - low) / (high - low).clamp(min=1e-9)).clamp(0, 1).movedim(0, 2)
        ax.imshow(shown.squeeze(2).numpy() if shown.shape[2] == 1 else shown.numpy(), cmap="gray",
                  vmin=0, vmax=1)  # fmt: skip
        if k < 0:
            ax.plot([0, shown.shape[1] - 1], [0, shown.shape[0] - 1], color=INVALID, linewidth=1)
        name = plain(domain.mode_names[k] if k >= 0 else "invalid")
        ax.set_title(name, fontsize=7.5, color=domain.colour(k), pad=1.5, weight="bold")


def from_arrays(
    x: Any,
    label: Any,
    mode: Any = None,
    *,
    network: Any = None,
    num_modes: int = 8,
    name: str = "arrays",
    kind: str | None = None,
    train_steps: int | None = None,
    valid_share: float = 0.99,
    mode_weights: Any = None,
    sigma_data: float | None = None,
    quiet: bool = False,
) -> Arrays:
    """Return arrays of one's own as a domain: train, sample, measure, sweep it as any other.

    Numbers are standardised (points feature by feature), and ``decode`` takes samples back. A
    fifth of the rows is held out: none of them, nor a copy, is trained on. What follows from the
    data is said once in a line.

    Parameters
    ----------
    x : array (n, d) of points, (n, h, w), (n, c, h, w) or (n, h, w, c) of pictures, grey or colour,
        at most 64 x 64, or (n, length) of ints or strings, which are tokens; a list, a numpy array,
        a torch tensor or a pandas frame
    label : n classes, ints or strings, with gaps or without
    mode : n modes, ints or strings; k-means finds ``num_modes`` clusters unless given, fewer where
        one would have under 2 % of the rows. They are named "cluster k", since nobody has said
        that they are kinds
    network : a module (scaled x, sigma, label) -> v, of tokens (tokens, level, label) -> logits,
        with label num_classes for none; or a function that makes one, which gives every training
        seed weights of its own. One for this kind of data unless given
    kind : "points", "pictures" or "tokens", where the shape does not say it
    train_steps, mode_weights (num_classes, num_modes), sigma_data : from the data unless given
    valid_share : a sample is valid if it is as near to a row that is trained on as this share of
        the held-out rows is, and a tenth more
    quiet : say nothing

    Raises
    ------
    ValueError : what cannot be read as above: ragged, empty, not finite, constant, one class, a
        class or mode of under 5 rows

    Lesson: 11_your_own.
    """
    values, kind, scale = rows_of_numbers(x, kind, SIGMA_DATA)
    classes, class_names = numbered(label, "label", len(values))
    require(len(class_names) > 1, "from_arrays", "label", "of two classes or more", class_names)
    _enough(classes, class_names, "label")
    ok = isinstance(valid_share, float) and 0 < valid_share <= 1
    require(ok, "from_arrays", "valid_share", "a number in (0, 1]", repr(valid_share))
    check_count(num_modes, "from_arrays", "num_modes")
    ok = network is None or callable(network)
    require(ok, "from_arrays", "network", "a module, or a function that makes one", repr(network))
    centres, how = None, "modes given"
    if mode is None:
        project = _Projection(values, kind, len(scale[0]) if kind == "tokens" else 0)
        modes, centres, how = found_modes(project(values), num_modes)
        mode_names = [f"cluster {k}" for k in range(len(centres))]
    else:
        modes, mode_names = numbered(mode, "mode", len(values))
        _enough(modes, mode_names, "mode")
    domain = Arrays(
        values,
        classes,
        modes,
        (class_names, mode_names),
        name=name,
        kind=kind,
        scale=scale,
        network=network,
        train_steps=train_steps,
        valid_share=valid_share,
        centres=centres,
        weights=mode_weights,
        sigma_data=sigma_data,
    )
    counts = f"{len(domain.classes)} classes, {domain.num_modes} modes ({how})"
    domain.said = f"{len(values)} {kind} of one's own, {counts}"
    if not quiet:
        print(_said(domain, counts))
    return domain


def _enough(codes: Tensor, names: list[str], what: str) -> None:
    counts = torch.bincount(codes).tolist()
    few = {n: c for n, c in zip(names, counts, strict=True) if c < FEWEST}
    expected = f"of values with at least {FEWEST} rows each"
    require(not few, "from_arrays", what, expected, f"{dict(list(few.items())[:5])} rows")


def _said(domain: Arrays, size: str) -> str:
    train, held_out = (len(domain.rows[part].x) for part in (False, True))
    shape = " x ".join(map(str, domain.shape))
    made = "your own" if domain._given is not None else type(domain.network()).__name__
    spread = getattr(domain.diffusion, "sigma_data", None)
    more = f", sigma_data {spread}" if spread else ""
    return (
        f"{domain.name}: {train + held_out} {domain.kind} of {shape}, {size}; {train} to train on, "
        f"{held_out} held out; network {made}, {domain.recipe['train_steps']} steps{more}; valid "
        f"within {domain.limit:.3g} of a row"
        + (f"; exact() copies {MOST_COPIED} of them" if train > MOST_COPIED else "")
    )
