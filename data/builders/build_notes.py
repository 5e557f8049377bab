"""Build data/notes8k.npz from recorded instruments in a SoundFont; knows nothing of the package.

    sudo apt install libfluidsynth3 musescore-general-soundfont
    python data/builders/build_notes.py

Plays each note with FluidSynth by itself and keeps .32 s of it. Needs NumPy and SciPy.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
from collections.abc import Sequence
from ctypes import c_char_p, c_double, c_int, c_void_p
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

INSTRUMENTS = {"piano": 0, "guitar": 24, "clarinet": 71, "flute": 73}  # General MIDI programmes
KEYS = [72, 74, 76, 79, 81, 84]  # C5 D5 E5 G5 A5 C6
VELOCITIES = [45, 70, 95, 120]  # how hard a key is struck, of 127

SOUNDFONT = Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3")
LIBRARY = "libfluidsynth.so.3"
TARGET = Path(__file__).parents[1] / "notes8k.npz"

PLAYED_RATE, RATE = 44_100, 8_000  # samples per second
BLOCK = (
    64  # samples that FluidSynth computes at a time; whole blocks leave no rest to the next note
)
HELD, PLAYED = 162 * BLOCK, 240 * BLOCK  # until the key is let go (.235 s), and in all (.348 s)
LENGTH = 2_560  # samples kept at RATE, .32 s
FADE = 160  # of them fade out
LEVEL = 0.8  # of full scale, for the loudest note

# Argument types of the functions used, which all return an int but for the two that make a thing.
FUNCTIONS = {
    "new_fluid_settings": [],
    "new_fluid_synth": [c_void_p],
    "delete_fluid_synth": [c_void_p],
    "delete_fluid_settings": [c_void_p],
    "fluid_settings_setnum": [c_void_p, c_char_p, c_double],
    "fluid_settings_setint": [c_void_p, c_char_p, c_int],
    "fluid_synth_sfload": [c_void_p, c_char_p, c_int],
    "fluid_synth_system_reset": [c_void_p],
    "fluid_synth_program_select": [c_void_p, c_int, c_int, c_int, c_int],
    "fluid_synth_noteon": [c_void_p, c_int, c_int, c_int],
    "fluid_synth_noteoff": [c_void_p, c_int, c_int],
    "fluid_synth_write_float": [c_void_p, c_int, *[c_void_p, c_int, c_int] * 2],
}


class Player:
    """FluidSynth with one SoundFont, without reverberation or chorus."""

    def __init__(self, soundfont: Path) -> None:
        self.library = ctypes.CDLL(LIBRARY)
        for name, types in FUNCTIONS.items():
            function = getattr(self.library, name)
            function.argtypes = types
            function.restype = c_void_p if name.startswith("new_") else c_int
        self.settings = self.library.new_fluid_settings()
        self.library.fluid_settings_setnum(self.settings, b"synth.sample-rate", PLAYED_RATE)
        for name in (b"synth.reverb.active", b"synth.chorus.active"):
            self.library.fluid_settings_setint(self.settings, name, 0)
        self.library.fluid_settings_setint(self.settings, b"synth.dynamic-sample-loading", 1)
        self.synth = self.library.new_fluid_synth(self.settings)
        self.font = self.library.fluid_synth_sfload(self.synth, str(soundfont).encode(), 1)
        if self.font < 0:
            raise ValueError(
                "The 'soundfont' parameter of Player must be a SoundFont that FluidSynth opens. "
                f"Got {soundfont} instead."
            )

    def close(self) -> None:
        self.library.delete_fluid_synth(self.synth)
        self.library.delete_fluid_settings(self.settings)

    def _render(self, samples: int) -> np.ndarray:
        """Return the next samples, left and right averaged: (samples,) of float64."""
        both = np.zeros((2, samples), np.float32)
        left, right = (channel.ctypes.data for channel in both)
        self.library.fluid_synth_write_float(self.synth, samples, left, 0, 1, right, 0, 1)
        return both.astype(np.float64).mean(0)

    def note(self, programme: int, key: int, velocity: int) -> np.ndarray:
        """Return one note from its start, at RATE: (LENGTH,) of float64, faded at its end."""
        self.library.fluid_synth_system_reset(self.synth)
        self.library.fluid_synth_program_select(self.synth, 0, self.font, 0, programme)
        self.library.fluid_synth_noteon(self.synth, 0, key, velocity)
        held = self._render(HELD)
        self.library.fluid_synth_noteoff(self.synth, 0, key)
        rest = self._render(PLAYED - HELD)
        sound = resample_poly(np.concatenate([held, rest]), 80, 441)[:LENGTH]
        sound[-FADE:] *= np.linspace(1, 0, FADE)
        return sound


def render(
    soundfont: Path,
    programmes: Sequence[int],
    keys: Sequence[int] = KEYS,
    velocities: Sequence[int] = VELOCITIES,
) -> np.ndarray:
    """Return notes (programmes, keys, velocities, LENGTH) of float64."""
    player = Player(soundfont)
    notes = [[[player.note(p, k, v) for v in velocities] for k in keys] for p in programmes]
    player.close()
    return np.array(notes)


def build(soundfont: Path, target: Path) -> dict[str, np.ndarray]:
    """Write the archive at `target` and return its arrays."""
    notes = render(soundfont, list(INSTRUMENTS.values()))
    arrays = {
        "notes": np.rint(notes * (LEVEL * 32_767 / np.abs(notes).max())).astype(np.int16),
        "instruments": np.array(list(INSTRUMENTS)),
        "keys": np.array(KEYS),
        "velocities": np.array(VELOCITIES),
        "rate": np.array(RATE),
    }
    np.savez_compressed(target, **arrays)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description="Build data/notes8k.npz.")
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT)
    parser.add_argument("--target", type=Path, default=TARGET, help="the archive to write")
    options = parser.parse_args()
    notes = build(options.soundfont, options.target)["notes"]
    print(f"{hashlib.sha256(notes.tobytes()).hexdigest()}  notes {notes.shape} {notes.dtype}")
    print(f"{hashlib.sha256(options.target.read_bytes()).hexdigest()}  {options.target.name}")


if __name__ == "__main__":
    main()
