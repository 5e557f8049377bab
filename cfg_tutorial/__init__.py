"""Classifier-free guidance as one phenomenon: the public names, one screen.

Heavy libraries (matplotlib, pandas, scikit-learn, ...) are loaded by what first needs them.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Before torch: its threads then sleep while they wait. Spinning, two of them on a busy machine
# took 1.7 s a training step of the U-Net, against .3 s asleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from cfg_tutorial.diffusion import Gaussian, Masked, drop_labels, karras_sigmas, wrap
from cfg_tutorial.domains import Batch, Domain, check_domain, load
from cfg_tutorial.guidance import composed, guide, guided, interval, ramp
from cfg_tutorial.measures import Coverage
from cfg_tutorial.samplers import (
    sample_ancestral,
    sample_dpmpp_2m,
    sample_euler,
    sample_heun,
    sample_unmask,
)
from cfg_tutorial.sweep import sweep  # at once: a module of this name must not take its place
from cfg_tutorial.training import fit, load_checkpoint, save_checkpoint, version

if TYPE_CHECKING:
    import cfg_tutorial.app.check as check
    from cfg_tutorial.app.widgets import Playground, explore, predict
    from cfg_tutorial.domains.mixtures import GaussianMixture
    from cfg_tutorial.domains.sounds import Recordings, read_clips, save_wav
    from cfg_tutorial.domains.text import TokenMixture
    from cfg_tutorial.plots import plot_coverage, source

__version__ = version()

_LATER = {
    "GaussianMixture": "domains.mixtures",
    "TokenMixture": "domains.text",
    "Recordings": "domains.sounds",
    "read_clips": "domains.sounds",
    "save_wav": "domains.sounds",
    "plot_coverage": "plots",
    "source": "plots",
    "check": "app.check",
    "explore": "app.widgets",
    "predict": "app.widgets",
    "Playground": "app.widgets",
}

__all__ = [
    "Batch",
    "Coverage",
    "Domain",
    "Gaussian",
    "GaussianMixture",
    "Masked",
    "Playground",
    "Recordings",
    "TokenMixture",
    "check",
    "check_domain",
    "composed",
    "drop_labels",
    "explore",
    "fit",
    "guide",
    "guided",
    "interval",
    "karras_sigmas",
    "load",
    "load_checkpoint",
    "plot_coverage",
    "predict",
    "ramp",
    "read_clips",
    "sample_ancestral",
    "sample_dpmpp_2m",
    "sample_euler",
    "sample_heun",
    "sample_unmask",
    "save_checkpoint",
    "save_wav",
    "source",
    "sweep",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'cfg_tutorial' has no attribute {name!r}")
    module = importlib.import_module(f"cfg_tutorial.{_LATER[name]}")
    return module if name == "check" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
