"""Classifier-free guidance as one phenomenon: the public names, one screen.

Heavy libraries (matplotlib, pandas, scikit-learn, ...) are loaded by what first needs them.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

# Before torch: its threads then sleep while they wait. Spinning, two of them on a busy machine
# took 1.7 s a training step of the U-Net, against .3 s asleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _is_for_the_command() -> bool:
    """Return whether this package is imported on the way to the command, and not for its names."""
    frame: Any = sys._getframe()
    while frame:
        name = frame.f_locals.get("name") if frame.f_code.co_name == "_find_and_load" else None
        if str(name).startswith("cfg_tutorial.app"):
            return True
        frame = frame.f_back
    return False


_broken: Exception | None = None
try:
    from cfg_tutorial.diffusion import Gaussian, Masked, drop_labels, karras_sigmas
    from cfg_tutorial.domains import Batch, Domain, check_domain, load
    from cfg_tutorial.files import version
    from cfg_tutorial.guidance import composed, guide, guided, interval, ramp
    from cfg_tutorial.measures import Coverage
    from cfg_tutorial.methods import method
    from cfg_tutorial.models import Empirical, GaussianMixture, TokenMixture, wrap
    from cfg_tutorial.networks import MLP, Transformer, UNet
    from cfg_tutorial.samplers import (
        sample_ancestral,
        sample_dpmpp_2m,
        sample_euler,
        sample_heun,
        sample_unmask,
        sampler,
    )
    from cfg_tutorial.sweep import sweep  # at once: a module of this name must not take its place
    from cfg_tutorial.training import fit, load_checkpoint, save_checkpoint

    __version__ = version()
except (ImportError, OSError) as error:  # of a library that is missing, or does not load
    if not _is_for_the_command():  # whose doctor says what is the matter
        raise
    _broken = error

if TYPE_CHECKING:
    import cfg_tutorial.lessons as check
    from cfg_tutorial.app.frames import frames
    from cfg_tutorial.app.prediction import predict
    from cfg_tutorial.app.widgets import Playground, explore
    from cfg_tutorial.domains.arrays import from_arrays
    from cfg_tutorial.domains.folders import from_folder, from_lines
    from cfg_tutorial.domains.sounds import Recordings, read_clips, save_wav
    from cfg_tutorial.lessons.expected import expect
    from cfg_tutorial.plots import plot_coverage, source

_LATER = {
    "Recordings": "domains.sounds",
    "read_clips": "domains.sounds",
    "save_wav": "domains.sounds",
    "plot_coverage": "plots",
    "source": "plots",
    "check": "lessons",
    "expect": "lessons.expected",
    "explore": "app.widgets",
    "from_arrays": "domains.arrays",
    "from_folder": "domains.folders",
    "from_lines": "domains.folders",
    "frames": "app.frames",
    "predict": "app.prediction",
    "Playground": "app.widgets",
}

__all__ = [
    "Batch",
    "Coverage",
    "Domain",
    "Empirical",
    "Gaussian",
    "GaussianMixture",
    "MLP",
    "Masked",
    "Playground",
    "Recordings",
    "TokenMixture",
    "Transformer",
    "UNet",
    "check",
    "check_domain",
    "composed",
    "drop_labels",
    "expect",
    "explore",
    "fit",
    "frames",
    "from_arrays",
    "from_folder",
    "from_lines",
    "guide",
    "guided",
    "interval",
    "karras_sigmas",
    "load",
    "load_checkpoint",
    "method",
    "plot_coverage",
    "predict",
    "ramp",
    "read_clips",
    "sample_ancestral",
    "sample_dpmpp_2m",
    "sample_euler",
    "sample_heun",
    "sample_unmask",
    "sampler",
    "save_checkpoint",
    "save_wav",
    "source",
    "sweep",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if _broken:
        raise ImportError(f"cfg_tutorial lacks what it needs: {_broken}") from _broken
    if name not in _LATER:
        raise AttributeError(f"module 'cfg_tutorial' has no attribute {name!r}")
    module = importlib.import_module(f"cfg_tutorial.{_LATER[name]}")
    return module if name == "check" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
