"""Build data/audio-basis.npz, the principal axes of the sounds, from data/notes8k.npz.

    python data/builders/build_audio_basis.py

The models in data/ are of these axes: train them anew after another basis.
"""

from pathlib import Path

import numpy as np
import torch

from cfg_tutorial.domains import audio, sounds

TARGET = Path(__file__).parents[1] / "audio-basis.npz"
NUM_CLIPS = 4_000


def main() -> None:
    mode = torch.arange(NUM_CLIPS) % len(audio.PHRASES)
    generator = torch.Generator().manual_seed(0)
    clips = audio.play_phrases(mode, mode % len(audio.INSTRUMENTS), generator)
    basis = sounds.fit_basis(torch.cat([sounds.spectrogram(part) for part in clips]))
    # Half the bytes: rounding to float16 changes a coefficient by about .0003.
    np.savez_compressed(
        TARGET,
        mean=basis.mean.half().numpy(),
        axes=basis.axes.half().numpy(),
        scale=basis.scale.numpy(),
    )


if __name__ == "__main__":
    main()
