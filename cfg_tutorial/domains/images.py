"""Photographs of garments, 16 x 16: two wardrobes that share eight garments. Knows no samplers."""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import require
from cfg_tutorial.diffusion import Gaussian
from cfg_tutorial.domains.base import INVALID, SKEWED, Batch, Domain
from cfg_tutorial.files import data_path
from cfg_tutorial.models import Empirical
from cfg_tutorial.networks import UNet

# In the order of their weight in the summer wardrobe; winter has the reverse.
GARMENTS = ["T-shirt", "dress", "trouser", "sandal", "bag", "coat", "sneaker", "boot"]

# x = GAIN (pixel - CENTRE), pixel from 0 (black) to 1: mean about 0, standard deviation about .5.
CENTRE, GAIN = 0.2, 1.6

NUM_READ = 1200  # training photographs a garment that the reader sees; exact() has the others
NUM_COMPONENTS = 96
NUM_FEATURES = 32
NOISE = 0.03  # standard deviation of a pixel that validity forgives, of a range of 1
VALID_SHARE, TOO_NEAR = 0.99, 0.001  # of held-out photographs


class Images(Domain):
    """Fashion-MNIST as a wardrobe: class summer or winter, mode one of eight garments.

    The photographs are real; that T-shirts, dresses, trousers and sandals are for summer and boots,
    sneakers, coats and bags for winter is our story.

    Parameters
    ----------
    mode_weights : Tensor (num_classes, 8), in the order of ``mode_names``

    Raises
    ------
    ValueError : other than eight modes, or rows that are not laws

    Source: Xiao, Rasul and Vollgraf 2017 (arXiv 1708.07747). Lesson: 02_images.
    """

    name = "images"
    recipe = {"train_steps": 960, "batch_size": 128, "lr": 2e-3, "ema": 0.998}
    num_shown = 16

    def __init__(self, mode_weights: Any = SKEWED):
        super().__init__(mode_weights)
        ok, got = self.num_modes == len(GARMENTS), f"shape {tuple(self.mode_weights.shape)}"
        require(ok, "load('images')", "mode_weights", "(num_classes, 8)", got)
        # A start at sigma_max forgets the mean of the data, which costs alignment: .665 at 40, .671
        # at 160 (3,000 samples at scale 1, one set of weights of an earlier recipe).
        self.diffusion = Gaussian(sigma_max=160.0, sigma_data=0.5, p_mean=-0.5, p_std=1.3)
        self.mode_names = list(GARMENTS)
        story = ["summer", "winter"]
        others = [f"class {c}" for c in range(self.num_classes)]
        self.class_names = story if self.num_classes == len(story) else others

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n photographs: the mode by the class's weights, then any photograph of it."""
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        source = photographs("held_out" if held_out else "train")
        picture = torch.randint(source.shape[1], (n,), generator=generator)
        return Batch(from_pixels(source[mode, picture]).unsqueeze(1), label, mode)

    def network(self) -> nn.Module:
        return UNet(self.num_classes)

    def exact(self) -> Empirical:
        """Return the ideal denoiser of 300 training photographs a garment: it copies them.

        The reader has not seen these, so it errs on them as it does on fresh ones.
        """
        copied = from_pixels(photographs("train")[:, NUM_READ:])
        mode = torch.arange(len(copied)).repeat_interleave(copied.shape[1])
        return Empirical(copied.flatten(0, 1), mode, self.mode_weights)

    def assign(self, x: Tensor) -> Tensor:
        """Return the garment read from each picture; -1: it is not like the garment's photographs.

        Pictures are read as shown, clipped to black and white. A picture is valid at a distance
        from its garment at which 99 % of the held-out photographs are.
        """
        pixels = to_pixels(x.detach().cpu().float()).flatten(1)
        finite = pixels.isfinite().all(1)
        mode = torch.full((len(x),), -1)
        if finite.any():
            read, distance = reader().read(pixels[finite].clamp(0, 1))
            low, high = valid_distances()
            mode[finite] = torch.where((low <= distance) & (distance <= high), read, -1)
        return mode.to(x.device)

    def reader_errors(self) -> Tensor:
        """Return how held-out photographs are read: (8, 8), row the true garment."""
        source = photographs("held_out")
        read = self.assign(from_pixels(source).flatten(0, 1).unsqueeze(1)).view(source.shape[:2])
        counts = [torch.bincount(modes[modes >= 0], minlength=self.num_modes) for modes in read]
        table = torch.stack(counts).double()
        return table / table.sum(1, keepdim=True)

    def features(self, x: Tensor) -> Tensor:
        """Return the first principal components of the photographs: (n, 32)."""
        mean, basis = components()
        pixels = to_pixels(x).flatten(1)
        return (pixels - mean.to(pixels)) @ basis[:, :NUM_FEATURES].to(pixels)

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return saturation: the share of pixels beyond black or white by over 2 % of the range."""
        pixels = to_pixels(x)
        return {"saturation": ((pixels < -0.02) | (pixels > 1.02)).double().mean().item()}

    def show(self, x: Tensor, label: Any = None, columns: int = 8, limit: int = 40) -> Any:
        """Draw the first ``limit`` pictures with the garment read; invalid ones crossed out."""
        from cfg_tutorial.domains.picture import Picture, plain

        x = x.detach().cpu()[:limit]
        rows = -(-len(x) // columns)
        size = (0.72 * columns, 0.86 * rows + 0.25)
        figure = Picture(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, picture, mode in zip(axes.flat, to_pixels(x)[:, 0], self.assign(x), strict=False):
            ax.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1)
            if mode < 0:
                ax.plot([0, 15], [0, 15], color=INVALID, linewidth=1)
            name = self.mode_names[mode] if mode >= 0 else "invalid"
            ax.set_title(plain(name), fontsize=7.5, color=self.colour(mode), pad=1.5, weight="bold")
        if isinstance(label, int) and label < self.num_classes:
            figure.suptitle(plain(f"class {label}: {self.class_names[label]}"), fontsize=8)
        return figure


def from_pixels(pixels: Tensor) -> Tensor:
    """Return bytes, 0 to 255, as x of standard deviation about .5, in the same shape."""
    return GAIN * (pixels.float() / 255 - CENTRE)


def to_pixels(x: Tensor) -> Tensor:
    """Return x as brightness, 0 black to 1 white; samples may lie beyond."""
    return x / GAIN + CENTRE


@functools.cache
def photographs(part: str) -> Tensor:
    """Return the photographs of "train" or "held_out": (8, n, 16, 16) of uint8."""
    with np.load(data_path("fashion16.npz"), allow_pickle=False) as archive:
        names = archive["names"].tolist()
        return torch.from_numpy(archive[part][[names.index(name) for name in GARMENTS]])


@functools.cache
def components() -> tuple[Tensor, Tensor]:
    """Return the mean (256,) and principal axes (256, 96) of the reader's photographs."""
    pixels = photographs("train")[:, :NUM_READ].flatten(2).flatten(0, 1).double() / 255
    mean = pixels.mean(0)
    _, axes = torch.linalg.eigh((pixels - mean).T @ (pixels - mean))
    return mean, axes.flip(1)[:, :NUM_COMPONENTS]


class Reader(NamedTuple):
    """Reads which garment a picture shows, and how far it is from the garment's photographs.

    A support vector machine on principal components names the garment. The distance is
    Mahalanobis', from the mean of the garment's photographs under their covariance plus NOISE.
    """

    classifier: Any
    means: Tensor
    precisions: Tensor

    def read(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the garment (n,) of pixels (n, 256) and the distance (n,) to its photographs."""
        mean, basis = components()
        pixels = pixels.double()
        mode = torch.from_numpy(self.classifier.predict(((pixels - mean) @ basis).numpy()))
        distance = torch.empty(len(pixels), dtype=torch.float64)
        for k, (centre, precision) in enumerate(zip(self.means, self.precisions, strict=True)):
            offset = pixels[mode == k] - centre
            distance[mode == k] = (offset @ precision * offset).sum(1).sqrt()
        return mode, distance


@functools.cache
def reader() -> Reader:
    """Return the reader of garments, fitted on training photographs: about a second, once."""
    from sklearn.svm import SVC

    pixels = photographs("train")[:, :NUM_READ].flatten(2).double() / 255
    mean, basis = components()
    modes = torch.arange(len(pixels)).repeat_interleave(NUM_READ)
    classifier = SVC(C=10).fit(((pixels.flatten(0, 1) - mean) @ basis).numpy(), modes.numpy())
    noise = NOISE**2 * torch.eye(pixels.shape[2], dtype=torch.float64)
    precisions = torch.stack([torch.linalg.inv(torch.cov(p.T) + noise) for p in pixels])
    return Reader(classifier, pixels.mean(1), precisions)


@functools.cache
def valid_distances() -> tuple[float, float]:
    """Return the distances between which VALID_SHARE of the held-out photographs lie.

    Nearly all that are left out are too far; only what has no picture in it is too near.
    """
    _, distance = reader().read(photographs("held_out").flatten(2).flatten(0, 1) / 255)
    low, high = distance.quantile(distance.new_tensor([TOO_NEAR, TOO_NEAR + VALID_SHARE])).tolist()
    return low, high
