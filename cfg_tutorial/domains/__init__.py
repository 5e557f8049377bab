"""The domains by name. Knows nothing of what is in them."""

import difflib
import importlib
from typing import Any

from cfg_tutorial.arguments import require
from cfg_tutorial.domains.base import Batch, Domain
from cfg_tutorial.domains.checks import check_domain

DOMAINS = {"mixtures": "Mixtures", "images": "Images", "text": "Text", "audio": "Audio"}
CORPORA = {"reviews": "Reviews", "names": "Names"}  # of text

__all__ = ["DOMAINS", "Batch", "Domain", "check_domain", "load"]


def load(name: str, **options: Any) -> Domain:
    """Return a domain: "mixtures", "images", "text" or "audio".

    Parameters
    ----------
    options : mode_weights (num_classes, num_modes), and what the domain's class takes

        (corpus="names" beside text's reviews)

    Raises
    ------
    ValueError : no such domain; the nearest name is suggested
    """
    near = difflib.get_close_matches(str(name), DOMAINS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    require(name in DOMAINS, "load", "name", f"one of {sorted(DOMAINS)}", f"{name!r}{hint}")
    module, kind = name, DOMAINS[name]
    if name == "text":
        module = options.pop("corpus", "reviews")
        require(module in CORPORA, "load('text')", "corpus", "'reviews' or 'names'", repr(module))
        kind, expected = CORPORA[module], "left out for names, whose lists weigh them"
        weights = options.get("mode_weights")
        ok = module != "names" or options.pop("mode_weights", None) is None
        require(ok, "load('text')", "mode_weights", expected, repr(weights))
    return getattr(importlib.import_module(f"cfg_tutorial.domains.{module}"), kind)(**options)
