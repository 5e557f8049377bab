"""Figures under a slider, as a widget. Knows nothing of what they show."""

import base64
import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from cfg_tutorial import plots
from cfg_tutorial.arguments import require


class Frames(widgets.VBox):
    """A slider over figures that were drawn before, see ``frames``."""

    def __init__(self, figures: Mapping[str, Any], name: str, start: int):
        self.pictures = {str(at): plots.image_bytes(f, dpi=80) for at, f in figures.items()}
        self.name, places = name, [*self.pictures]
        self.slider = widgets.SelectionSlider(options=places, index=start, readout=False)
        # ipywidgets gives the slider's handle no name: this says the place to a screen reader.
        self.place = widgets.Dropdown(options=places, index=start, description=name)
        self.view = widgets.HTML()
        widgets.link((self.slider, "index"), (self.place, "index"))
        self.slider.observe(lambda _: self.draw(), "index")
        super().__init__([widgets.HBox([self.place, self.slider]), self.view])
        self.draw()

    def draw(self) -> None:
        """Show the figure of the slider's place: nothing is computed."""
        source = plots.data_uri("image/png", self.pictures[self.slider.value])
        words = html.escape(f"{self.name} {self.slider.value}")
        self.view.value = f'<img src="{source}" alt="{words}" style="max-width:100%">'

    def __repr__(self) -> str:
        return f"Frames: {self.name} {self.slider.value}, of {', '.join(self.pictures)}"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Add the picture that is shown, for where no kernel runs."""
        picture = base64.b64encode(self.pictures[self.slider.value]).decode()
        return super()._repr_mimebundle_(**options) | {"image/png": picture}


def frames(figures: Mapping[str, Any], name: str = "frame", start: int = 0) -> Frames:
    """Return a widget that shows one of several figures, chosen by a slider.

    Parameters
    ----------
    figures : {what the slider says: matplotlib figure}, two or more, in the slider's order
    name : what the slider is called
    start : int, the place that it opens at, negative ones from the end

    Raises
    ------
    ValueError : fewer than two figures, or no such place
    """
    require(len(figures) > 1, "frames", "figures", "two or more", len(figures))
    inside = -len(figures) <= start < len(figures)
    require(inside, "frames", "start", f"a place, below {len(figures)}", start)
    return Frames(figures, name, start % len(figures))
