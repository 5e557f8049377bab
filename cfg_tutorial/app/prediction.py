"""A prediction before an answer, as a widget that keeps it. Knows no notebook."""

import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from cfg_tutorial import files


class Prediction(widgets.VBox):
    """A question, the learner's choice, and then what was measured, see ``predict``."""

    def __init__(
        self,
        question: str,
        choices: Sequence[str],
        answer: str | Callable[[], str],
        because: str,
        path: Path,
    ):
        self.question, self.choices, self.answer = question, tuple(choices), answer
        self.because, self.path = because, path
        kept, trouble = self._kept()
        self.mine = kept if kept in self.choices else None
        self.choice = widgets.RadioButtons(
            options=self.choices,
            value=self.mine,
            layout={"width": "max-content"},
        )
        self.keep = widgets.Button(description="Keep my prediction", disabled=self.mine is None)
        self.show = widgets.Button(description="Show what was measured", disabled=self.mine is None)
        for button in (self.keep, self.show):
            button.layout.width = "max-content"
        self.said = widgets.HTML()
        if trouble:
            self._say(trouble)
        self.choice.observe(self._choose, "value")
        self.keep.on_click(self._keep)
        self.show.on_click(self._show)
        title = widgets.HTML(f"<b>{html.escape(question)}</b>")
        super().__init__([title, self.choice, widgets.HBox([self.keep, self.show]), self.said])

    def _say(self, text: str) -> None:
        self.said.value = f'<div role="status">{html.escape(text)}</div>'

    def _choose(self, _: Any) -> None:
        self.keep.disabled = self.choice.value is None

    def _kept(self, mine: str | None = None) -> tuple[str | None, str]:
        """Return the choice that is kept, ``mine`` where there is none, and what hindered."""
        try:
            with files.locked(self.path):
                trouble = _set_aside(self.path)
                return _read(self.path).get(self.question, mine), trouble
        except OSError as error:
            return mine, f"{_reason(self.path, error)} "

    def _keep(self, _: Any) -> None:
        trouble, where = "", f"Kept in {self.path.name}"
        try:
            with files.locked(self.path):  # another notebook may keep its own at the same time
                trouble = _set_aside(self.path)
                kept = {**_read(self.path), self.question: self.choice.value}
                files.write_text(self.path, json.dumps(kept, indent=1))
        except OSError as error:  # the learner goes on all the same
            trouble += f"{_reason(self.path, error)} "
            where = "Kept in this page alone"
        self.mine, self.show.disabled = self.choice.value, False
        self._say(f"{trouble}{where}: {self.mine}. Now run the cells below.")

    def _show(self, _: Any) -> None:
        try:
            found = self.answer() if callable(self.answer) else self.answer
        except NameError:
            self._say("Nothing is measured yet: run the cells below, then press again.")
            return
        kept, trouble = self._kept(self.mine)
        judged = "as you predicted" if kept == found else f"you predicted: {kept}"
        self._say(f"{trouble}Measured: {found} ({judged}). {self.because}".rstrip())

    def __repr__(self) -> str:
        return f"Prediction: {self.question}"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Add the question as text, for where no kernel runs."""
        bundle = super()._repr_mimebundle_(**options)
        lines = [f"**{self.question}**", *(f"- {choice}" for choice in self.choices)]
        bundle["text/markdown"] = "\n\n".join([lines[0], "\n".join(lines[1:])])
        return bundle


def _read(path: Path) -> dict[str, str]:
    """Return the predictions that a file holds; none where there is no such file.

    Raises
    ------
    ValueError : it is not what ``predict`` writes; names the file and the reason
    OSError : it cannot be read
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8-sig"))  # editors add a mark
        if not files.fits(kept, dict[str, str]):
            raise ValueError("it is no object of texts")
        json.dumps(kept, ensure_ascii=False).encode()  # half a character is no text
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is damaged: {error}.") from error
    return kept


def _set_aside(path: Path) -> str:
    """Rename a damaged file, which is then not written over; return what there is to say."""
    try:
        _read(path)
    except ValueError as error:
        aside, number = path.with_name(f"{path.name}.damaged"), 0
        while aside.exists():
            aside, number = path.with_name(f"{path.name}.damaged-{number + 1}"), number + 1
        path.rename(aside)
        return f"{error} It is kept as {aside.name}. "
    return ""


def _reason(path: Path, error: OSError) -> str:
    return f"{path.name} cannot be used: {error.strerror or error}."


def predict(
    question: str,
    choices: Sequence[str],
    answer: str | Callable[[], str],
    because: str = "",
    folder: str | Path = ".",
) -> Prediction:
    """Return a widget that asks first and shows what was measured after.

    The choice is kept in ``predictions.json`` in the folder, by default the notebook's own, and
    is there again when the notebook is opened anew. What hinders keeping or reading it is said
    under the buttons; a file that is damaged is renamed and not written over.

    Parameters
    ----------
    choices : two or more
    answer : one of the choices, or a function that finds it from what later cells measure
    because : said with the answer

    Raises
    ------
    ValueError : fewer than two choices, or an answer that is none of them
    """
    if len(set(choices)) < 2:
        raise ValueError(
            "The 'choices' parameter of predict must be two or more different texts. "
            f"Got {list(choices)} instead."
        )
    if not callable(answer) and answer not in choices:
        raise ValueError(
            f"The 'answer' parameter of predict must be one of {list(choices)}. "
            f"Got {answer!r} instead."
        )
    path = Path(folder).expanduser() / "predictions.json"
    return Prediction(question, choices, answer, because, path)
