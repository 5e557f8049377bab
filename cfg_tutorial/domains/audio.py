"""Short melodies on recorded instruments, in four styles, as spectrograms. Knows no samplers."""

import functools
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import require
from cfg_tutorial.diffusion import Gaussian
from cfg_tutorial.domains.base import Batch, together
from cfg_tutorial.domains.sounds import (
    LENGTH,
    NUM_COMPONENTS,
    Basis,
    Sounds,
    fit_basis,
    spectrogram,
    torchaudio,
)
from cfg_tutorial.files import data_path
from cfg_tutorial.models import Empirical
from cfg_tutorial.networks import MLP
from cfg_tutorial.training import run_of

# Four notes each; c is an octave above C. The phrase of place j is played by instrument j mod 4.
PHRASES = [
    *("CDEG", "GEDC", "CEGE", "GCEG", "AGED", "CGAG"),
    *("EDCD", "GAcA", "cAGE", "DEGA", "EGcG", "cGEC"),
]
INSTRUMENTS = ["piano", "guitar", "clarinet", "flute"]
PITCHES = "CDEGAc"  # the bank's keys
KEYS = ["C5", "D5", "E5", "G5", "A5", "C6"]
HERTZ = [440 * 2 ** ((key - 69) / 12) for key in (72, 74, 76, 79, 81, 84)]
# The phrases that each style owns, from the most to the least frequent; each is in two styles.
STYLES = [[0, 1, 2, 3, 4, 5], [6, 7, 8, 5, 4, 3], [9, 10, 11, 2, 8, 0], [1, 11, 6, 10, 7, 9]]
SHARES = [0.36, 0.25, 0.17, 0.11, 0.07, 0.04]

SLOT, SLOTS = 2_048, 4  # samples a note (.256 s), notes a clip
TUNINGS = tuple((688 + k, 688) for k in range(-4, 5))  # ratios of pitch, 2.5 cents apart
ONSET, GAIN, NOISE = 160, 2.0, 1e-3  # most samples late (20 ms), most dB louder or softer, hiss
EVENNESS = 0.25  # power of a note's level: soft notes would sink under the floor

NUM_POOL, NUM_COPIED = 18_000, 6_000  # clips that a training run draws from, and exact()
READ_AXES, MARGIN = 48, 1.15
NUM_READ = 900  # clips of random notes that the reader is fitted on, as many again to hold out
# Velocity layers and tunings that the reader is fitted on; tests read the others.
READ_LAYERS, READ_TUNINGS = (0, 2, 3), TUNINGS[::2]


# Sound


@functools.cache
def notes() -> Tensor:
    """Return the bank of recorded notes: (instrument, pitch, velocity, 2560), about level 1."""
    with np.load(data_path("notes8k.npz"), allow_pickle=False) as archive:
        if archive["instruments"].tolist() != INSTRUMENTS:
            raise ValueError(f"notes8k.npz must hold {INSTRUMENTS}. Got others instead.")
        return even(torch.from_numpy(archive["notes"]).float())


def even(sound: Tensor) -> Tensor:
    """Return notes (..., samples) with levels (root mean square) raised to the power EVENNESS."""
    level = sound.square().mean(-1, keepdim=True).sqrt()
    return 0.1 * sound / level * (level / level.mean()) ** EVENNESS


def tuned(bank: Tensor, ratios: Sequence[tuple[int, int]]) -> Tensor:
    """Return notes (..., samples) at each ratio of pitch: (..., ratios, samples)."""
    resample, length = torchaudio().functional.resample, bank.shape[-1]
    each = [resample(bank, up, down)[..., :length] for up, down in ratios]
    return torch.stack([nn.functional.pad(one, (0, length - one.shape[-1])) for one in each], -2)


@functools.cache
def tuned_notes() -> Tensor:
    """Return the bank at all TUNINGS: (instrument, pitch, velocity, tuning, 2560)."""
    return tuned(notes(), TUNINGS)


def mix(
    instrument: Tensor, pitch: Tensor, generator: torch.Generator, bank: Tensor | None = None
) -> Tensor:
    """Return clips put together from single notes: (n, 8192), no two alike.

    Each note has a velocity and a tuning of its own, and starts a little late or is a little loud.

    Parameters
    ----------
    instrument, pitch : Tensor (n, 4) of int
    bank : Tensor (instrument, pitch, velocity, tuning, samples), ``tuned_notes()`` unless given
    """
    bank = tuned_notes() if bank is None else bank
    shape, length = instrument.shape, bank.shape[-1]
    velocity, tuning = (torch.randint(k, shape, generator=generator) for k in bank.shape[2:4])
    gain = 10 ** (GAIN / 20 * (2 * torch.rand(shape, generator=generator, dtype=torch.float32) - 1))
    start = torch.randint(ONSET + 1, shape, generator=generator) + SLOT * torch.arange(SLOTS)
    played = bank[instrument, pitch, velocity, tuning] * gain[..., None]
    sound = NOISE * torch.randn(
        len(instrument), LENGTH + ONSET + length, generator=generator, dtype=torch.float32
    )
    place = start[..., None] + torch.arange(length)
    return sound.scatter_add_(1, place.flatten(1), played.flatten(1))[:, :LENGTH]


def phrases() -> Tensor:
    """Return the pitches of each phrase: (12, 4)."""
    return torch.tensor([[PITCHES.index(pitch) for pitch in phrase] for phrase in PHRASES])


def play_phrases(
    phrase: Tensor, instrument: Tensor, generator: torch.Generator, bank: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield a clip of each phrase (n,) on the instrument (n,) of its row, 256 at a time."""
    for part, own in zip(phrase.split(256), instrument.split(256), strict=True):
        yield mix(own[:, None].expand(-1, SLOTS), phrases()[part], generator, bank)


def slots(spectrograms: Tensor) -> Tensor:
    """Return spectrograms (n, 257, 64) slot by slot: (n, 4, 257, 16)."""
    return spectrograms.unflatten(2, (SLOTS, -1)).transpose(1, 2)


@functools.cache
def basis(layout: str) -> Basis:
    """Return the axes of a layout's spectrograms, 32 or, with all instruments, 64.

    Those of "styles" ship with the package, so that models agree on every machine:
    ``data/builders/build_audio_basis.py`` fitted them on 4,000 clips. Others are fitted here.
    """
    if layout == "styles":
        with np.load(data_path("audio-basis.npz"), allow_pickle=False) as archive:
            return Basis(*(torch.from_numpy(archive[name]).float() for name in Basis._fields))
    place = torch.arange(24 * len(PHRASES) * len(INSTRUMENTS))
    clips = play_phrases(place % 12, place // 12 % 4, torch.Generator().manual_seed(0))
    return fit_basis(torch.cat([spectrogram(part) for part in clips]), 2 * NUM_COMPONENTS)


# The reader


class Notes(NamedTuple):
    """Notes read in each slot: instrument and pitch (n, 4), valid (n, 4), and how far they are.

    distance (n, 4) is Mahalanobis', from the mean of that instrument's note; residual (n, 4) is
    what the reader's axes cannot say.
    """

    instrument: Tensor
    pitch: Tensor
    valid: Tensor
    distance: Tensor
    residual: Tensor


class Reader(NamedTuple):
    """Reads instrument and pitch from a slot's 257 x 16 spectrogram.

    24 Gaussians of one covariance on principal axes. A note is valid where distance and residual
    are below MARGIN times what 99.9 % of held-out notes have.
    """

    axes: Basis
    means: Tensor  # (24, READ_AXES), in units in which the covariance is the identity
    whiten: Tensor  # (READ_AXES, READ_AXES)
    limits: tuple[float, float]

    def place(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Return whitened coefficients (m, READ_AXES) and residuals (m,) of slots (m, 257, 16)."""
        found = self.axes.encode(slices)
        residual = (slices - self.axes.decode(found)).flatten(1).norm(dim=1)
        return found @ self.whiten, residual

    def read(self, spectrograms: Tensor) -> Notes:
        """Return the notes of spectrograms (n, 257, 64), which must be finite."""
        found, residual = self.place(slots(spectrograms.float()).flatten(0, 1))
        distance, note = torch.cdist(found, self.means).min(1)
        valid = (distance < self.limits[0]) & (residual < self.limits[1])
        each = (note // len(PITCHES), note % len(PITCHES), valid, distance, residual)
        return Notes(*(part.view(-1, SLOTS) for part in each))


def random_notes(
    n: int, seed: int, layers: Sequence[int], ratios: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Return the slots (4n, 257, 16) of n clips of random notes, and each one's note (4n,)."""
    generator = torch.Generator().manual_seed(seed)
    note = torch.randint(len(INSTRUMENTS) * len(PITCHES), (n, SLOTS), generator=generator)
    bank = tuned_notes()[:, :, list(layers)][..., [TUNINGS.index(r) for r in ratios], :]
    clips = mix(note // len(PITCHES), note % len(PITCHES), generator, bank)
    return slots(spectrogram(clips)).flatten(0, 1), note.flatten()


@functools.cache
def reader() -> Reader:
    """Return the reader, fitted on random notes and never on the phrases: seconds, once."""
    slices, note = random_notes(NUM_READ, 11, READ_LAYERS, READ_TUNINGS)
    axes = fit_basis(slices[:1500], READ_AXES)
    found = axes.encode(slices)
    means = torch.stack([found[note == k].mean(0) for k in range(note.max() + 1)])
    covariance = torch.cov((found - means[note]).double().T)
    whiten = torch.linalg.inv(torch.linalg.cholesky(covariance)).T.float()
    draft = Reader(axes, means @ whiten, whiten, (math.inf, math.inf))
    slices, note = random_notes(NUM_READ, 12, READ_LAYERS, READ_TUNINGS)
    found, residual = draft.place(slices)
    distance = (found - draft.means[note]).norm(dim=1)
    far, rough = (MARGIN * value.quantile(0.999).item() for value in (distance, residual))
    return draft._replace(limits=(far, rough))


# The domain


def style_weights() -> Tensor:
    """Return how much each style plays each phrase: (4, 12), rows sum to 1."""
    weights = torch.zeros(len(STYLES), len(PHRASES), dtype=torch.float64)
    for style, own in enumerate(STYLES):
        weights[style, own] = torch.tensor(SHARES, dtype=torch.float64)
    return weights


class Audio(Sounds):
    """Melodies of four notes on recorded instruments; x (n, 32) are principal components.

    With layout "instruments" there are 64 of them.

    Parameters
    ----------
    mode_weights : Tensor (num_classes, 12), in the order of ``mode_names``
    layout : "styles" (class: a style, mode: a phrase on its own instrument) or "instruments"
        (class: the instrument, mode: a phrase that every class plays as often, so that modes
        carry no class information)

    Raises
    ------
    ValueError : an unknown layout, other than 12 modes, or not 4 classes for "instruments"
    ImportError : at the first use of sound, if torchaudio does not load beside torch

    The recordings are real; the phrases and their styles are our story. Lesson: 04_audio.
    """

    name = "audio"
    recipe = {"train_steps": 3500, "batch_size": 128, "lr": 3e-3, "ema": 0.99}
    # Validity at scale 1 of one set of weights, of 2,500 steps: .985 in 18 levels, .991 in 28.
    num_steps = 24

    def __init__(self, mode_weights: Any = None, layout: str = "styles"):
        ok, expected = layout in ("styles", "instruments"), "'styles' or 'instruments'"
        require(ok, "load('audio')", "layout", expected, repr(layout))
        by_instrument = layout == "instruments"
        if mode_weights is None:
            mode_weights = [[w / 2 for w in SHARES * 2]] * 4 if by_instrument else style_weights()
        super().__init__(mode_weights)
        shape = tuple(self.mode_weights.shape)
        ok = shape[1] == len(PHRASES) and (not by_instrument or shape[0] == len(INSTRUMENTS))
        expected = "(4, 12)" if by_instrument else "(num_classes, 12)"
        where = f"load('audio', layout={layout!r})"
        require(ok, where, "mode_weights", expected, f"shape {shape}")
        self.layout = layout
        axes = hashlib.sha256(data_path("audio-basis.npz").read_bytes()).hexdigest()[:16]
        self.options = {"layout": layout, "basis": "fitted" if by_instrument else axes}
        self.file_name = "audio-instruments" if by_instrument else "audio"
        self.diffusion = Gaussian(
            sigma_min=0.02, sigma_max=20.0, sigma_data=0.5, p_mean=-0.4, p_std=1.2
        )
        # Which instrument plays a phrase in a class: (num_classes, 12).
        if by_instrument:
            self.instrument = torch.arange(4)[:, None].expand(shape)
            self.mode_names, self.class_names = list(PHRASES), list(INSTRUMENTS)
        else:
            self.instrument = (torch.arange(12) % 4).expand(shape)
            self.mode_names = [f"{p} {INSTRUMENTS[k % 4]}" for k, p in enumerate(PHRASES)]
            self.class_names = [f"style {'ABCD'[c] if c < 4 else c}" for c in range(shape[0])]

    def _clips(self, n: int, seed: int, held_out: bool, stratified: bool) -> Any:
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        return play_phrases(mode, self.instrument[label, mode], generator), label, mode

    def sound(self, n: int, seed: int = 0, held_out: bool = False) -> Batch:
        """Return the clips that ``data`` returns, as sound: x is (n, 8192), 8,000 samples a s."""
        clips, label, mode = self._clips(n, seed, held_out, stratified=False)
        return Batch(torch.cat(list(clips)), label, mode)

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n clips, no two alike: about .5 s for 1,000."""
        clips, label, mode = self._clips(n, seed, held_out, stratified)
        x = together((self.basis.encode(spectrogram(part)) for part in clips), n)
        return Batch(x, label, mode)

    def training_batch(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return clips of a pool that each training run makes for itself, once: seconds."""
        generator = self.generator(seed)
        label, mode = self.draw_modes(n, generator, stratified=True)
        clips = pool(self.layout, NUM_POOL, run_of(seed))
        pick = torch.randint(clips.shape[2], (n,), generator=generator)
        return clips[mode, self._column(label), pick], label

    def _column(self, label: Tensor) -> Tensor:
        """Return the column of ``pool`` that has the clips of each class in ``label`` (n,)."""
        return label if self.layout == "instruments" else torch.zeros_like(label)

    def network(self) -> nn.Module:
        return MLP(self.basis.axes.shape[1], self.num_classes, hidden=192, depth=6)

    def exact(self) -> Empirical:
        """Return the ideal denoiser of some training clips: it copies them."""
        clips = pool(self.layout, NUM_COPIED, 0)
        modes, columns, each, _ = clips.shape
        weights = self.mode_weights.new_zeros(self.num_classes, modes, columns)
        label = torch.arange(self.num_classes)
        weights[label, :, self._column(label)] = self.mode_weights
        pair = torch.arange(modes * columns).repeat_interleave(each)
        return Empirical(clips.flatten(0, 2), pair, weights.flatten(1))

    def assign(self, x: Tensor) -> Tensor:
        """Return the phrase that is read from each clip; -1: a slot holds no note of the bank, or
        the notes are no phrase, or not on an instrument that plays it in some class."""
        mode = torch.full((len(x),), -1)
        finite = x.detach().cpu().isfinite().all(1)
        if finite.any():
            mode[finite] = self.phrase(self.read(x.detach().cpu()[finite]))
        return mode.to(x.device)

    def phrase(self, read: Notes) -> Tensor:
        """Return the mode (n,) of notes that were read, -1 where they are none."""
        spelled = (read.pitch[:, None] == phrases()).all(2)  # (n, 12)
        one = (read.instrument == read.instrument[:, :1]).all(1) & read.valid.all(1)
        plays = (self.instrument[None] == read.instrument[:, :1, None]).any(1)  # (n, 12)
        found = spelled & plays & one[:, None]
        return torch.where(found.any(1), found.int().argmax(1), -1)

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return, where the class is an instrument, how many notes of finite clips are on it."""
        if self.layout == "styles":
            return {}
        read = self.read(x[x.isfinite().all(1)])
        return {"accuracy": (read.instrument == label).double().mean().item()}

    @property
    def basis(self) -> Basis:
        return basis(self.layout)

    def captions(self, x: Tensor) -> list[tuple[str, str, Sequence[str]]]:
        """Return the phrase read in each clip, its colour, and the notes, "?" for what is none."""
        read = zip(*(part.tolist() for part in self.read(x.nan_to_num())[:3]), strict=True)
        words = [
            [f"{KEYS[k]}\n{INSTRUMENTS[i]}" if ok else "?" for i, k, ok in zip(*one, strict=True)]
            for one in read
        ]
        titles = super().captions(x)
        return [(*title[:2], spelled) for title, spelled in zip(titles, words, strict=True)]

    def read(self, x: Tensor) -> Notes:
        """Return the notes read in each x (n, k), which must be finite; see ``phrase``."""
        parts = (reader().read(self.spectrogram(part)) for part in x.split(100))
        rows = (torch.stack([value.double() for value in part], 2) for part in parts)
        found = together(rows, len(x)).unbind(2)  # (n, 4) each
        return Notes(
            found[0].long(), found[1].long(), found[2].bool(), *map(Tensor.float, found[3:])
        )

    def read_sound(self, sound: Tensor) -> Notes:
        """Return the notes read in clips (n, 8192)."""
        return reader().read(spectrogram(sound.detach().cpu().float()))


@functools.lru_cache(maxsize=4)
def pool(layout: str, num_clips: int, run: int) -> Tensor:
    """Return the clips of a training run (12, columns, num_clips / 12 / columns, k), its own.

    A column is an instrument with layout "instruments"; else there is one, and every phrase is on
    its own instrument.
    """
    columns = len(INSTRUMENTS) if layout == "instruments" else 1
    each = num_clips // len(PHRASES) // columns
    phrase = torch.arange(len(PHRASES)).repeat_interleave(columns * each)
    column = torch.arange(columns).repeat_interleave(each).repeat(len(PHRASES))
    instrument = column if columns > 1 else phrase % len(INSTRUMENTS)
    clips = play_phrases(phrase, instrument, Sounds.generator(run))
    found = together((basis(layout).encode(spectrogram(part)) for part in clips), len(phrase))
    return found.view(len(PHRASES), columns, each, -1)
