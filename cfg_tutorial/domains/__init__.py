"""The domains by name. Knows nothing of what is in them."""

import difflib
import importlib
from typing import Any

from cfg_tutorial.domains.base import Batch, Domain, check_domain

DOMAINS = {"mixtures": "Mixtures", "images": "Images", "text": "Text", "audio": "Audio"}

__all__ = ["DOMAINS", "Batch", "Domain", "check_domain", "load"]


def load(name: str, **options: Any) -> Domain:
    """Return a domain: "mixtures", "images", "text" or "audio".

    Parameters
    ----------
    options : mode_weights (num_classes, num_modes), and what the domain's class takes

    Raises
    ------
    ValueError : no such domain; the nearest name is suggested
    """
    if name not in DOMAINS:
        near = difflib.get_close_matches(str(name), DOMAINS, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"The 'name' parameter of load must be one of {sorted(DOMAINS)}. "
            f"Got {name!r} instead.{hint}"
        )
    module = importlib.import_module(f"cfg_tutorial.domains.{name}")
    return getattr(module, DOMAINS[name])(**options)
