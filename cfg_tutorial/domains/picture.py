"""A figure that a notebook shows as a cell's last value. Knows nothing of what is drawn on it."""

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A matplotlib figure that pyplot does not know of.

    Pyplot draws on the one figure that is current in the whole process; Jupyter runs widgets beside
    cells, and each would draw on the other's.
    """

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows before anything in it has loaded pyplot."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, bbox_inches="tight")
        return buffer.getvalue()


def plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: two dollars would make a formula of it."""
    return text.replace("$", r"\$")
