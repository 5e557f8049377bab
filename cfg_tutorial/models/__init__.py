"""Models: networks seen as models, and models that are exact. Know nothing of domains."""

from cfg_tutorial.models.exact import Empirical, GaussianMixture, TokenMixture
from cfg_tutorial.models.laws import guided_law, tilted_law
from cfg_tutorial.models.wrapped import Denoiser, TokenModel, wrap

__all__ = [
    "Denoiser",
    "Empirical",
    "GaussianMixture",
    "TokenMixture",
    "TokenModel",
    "guided_law",
    "tilted_law",
    "wrap",
]
