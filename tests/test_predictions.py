"""Predictions that are kept: what hinders it is said, and no file that is there is lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cfg_tutorial as ct
from cfg_tutorial import files


def asked(folder, question="A?", answer="yes"):
    return ct.predict(question, ["yes", "no"], answer, "So it is.", folder)


def keep(widget, choice):
    """Choose and press; not by ``click``, which only logs what is raised."""
    widget.choice.value = choice
    widget._keep(None)
    assert widget.choice.value == choice, "the choice stays"
    return widget.said.value


def kept(folder):
    return json.loads((folder / "predictions.json").read_text(encoding="utf-8"))


DAMAGED = {
    "torn": b'{"A?": "n',
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b'{"A?": 3}',
    "a bool": b'{"A?": true}',
    "nested": b'{"A?": {"A?": "no"}}',
    "deep": b"[" * 10**5,
    "huge": b'{"A?": ' + b"9" * 5000 + b"}",
    "NaN": b"NaN",
    "half a character": b'{"A?": "\\ud800"}',
    "Latin-1": '{"Ä?": "no"}'.encode("latin-1"),
    "UTF-16": '{"A?": "no"}'.encode("utf-16"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_set_aside_and_said(tmp_path, damage):
    """A damaged file is renamed and not written over, and the status line says so.

    Before: a file cut short was written over at the next click, and null or UTF-16 were errors.
    """
    path = tmp_path / "predictions.json"
    path.write_bytes(DAMAGED[damage])
    widget = asked(tmp_path)
    assert widget.choice.value is None and 'role="status"' in widget.said.value
    assert "predictions.json is damaged: " in widget.said.value
    assert "predictions.json.damaged" in widget.said.value
    assert not path.exists()
    assert "is damaged" not in keep(widget, "no") and kept(tmp_path) == {"A?": "no"}
    path.write_bytes(DAMAGED[damage])  # again, under the open widget
    said = keep(widget, "yes")
    assert "predictions.json is damaged" in said and "damaged-1" in said and "Kept in" in said
    assert kept(tmp_path) == {"A?": "yes"}
    path.write_bytes(DAMAGED[damage])
    widget._show(None)
    assert "damaged-2" in widget.said.value and "as you predicted" in widget.said.value
    asides = sorted(tmp_path.glob("predictions.json.damaged*"))
    assert [p.name[16:] for p in asides] == [".damaged", ".damaged-1", ".damaged-2"]
    assert all(p.read_bytes() == DAMAGED[damage] for p in asides)


def test_a_mark_that_editors_add_is_no_damage(tmp_path):
    """A file with a byte order mark before its UTF-8 is read."""
    (tmp_path / "predictions.json").write_text('{"A?": "no"}', encoding="utf-8-sig")
    assert asked(tmp_path).choice.value == "no"
    assert not list(tmp_path.glob("*.damaged"))


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    """On a full disk the choice stays, the file too, and the learner goes on.

    Before: an error in the log that nobody sees.
    """
    keep(asked(tmp_path, "B?"), "yes")
    before = (tmp_path / "predictions.json").read_bytes()

    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_text", full)
    widget = asked(tmp_path)
    said = keep(widget, "no")
    assert "predictions.json cannot be used: No space left on device." in said
    assert not widget.show.disabled
    widget._show(None)
    assert "Measured: yes (you predicted: no). So it is." in widget.said.value
    assert (tmp_path / "predictions.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    """Where no folder can be made, the status line says so, at once and at each press.

    Before: nothing was said.
    """
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    widget = asked(tmp_path / "file")
    assert "predictions.json cannot be used: " in widget.said.value
    assert "predictions.json cannot be used: " in keep(widget, "no")
    widget._show(None)
    assert "predictions.json cannot be used: " in widget.said.value
    assert "you predicted: no" in widget.said.value


def test_a_folder_of_that_name_is_said(tmp_path):
    """A folder called predictions.json is left alone, and said."""
    (tmp_path / "predictions.json").mkdir()
    widget = asked(tmp_path)
    for said in (widget.said.value, keep(widget, "no")):
        assert "predictions.json cannot be used: " in said
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.json"]


def test_a_file_that_may_not_be_read_is_said(tmp_path, monkeypatch):
    """A file that may not be read is said and not written over."""
    keep(asked(tmp_path), "no")
    before, real = (tmp_path / "predictions.json").read_bytes(), Path.read_text

    def forbidden(path, *args, **options):
        if path.name == "predictions.json":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", forbidden)
    widget = asked(tmp_path, "B?")
    for said in (widget.said.value, keep(widget, "no")):
        assert "predictions.json cannot be used: Permission denied." in said
    assert (tmp_path / "predictions.json").read_bytes() == before


def test_links_that_lead_round_are_said(tmp_path):
    """Links in a circle are an error of the system, and said like others."""
    (tmp_path / "predictions.json").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "predictions.json")
    assert "predictions.json cannot be used: " in asked(tmp_path).said.value


def test_a_home_is_no_folder_called_so(tmp_path, monkeypatch):
    """~ in the folder is the home folder.

    Before: a folder called ~ was made.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    keep(asked("~/lessons"), "no")
    assert kept(tmp_path / "lessons") == {"A?": "no"} and not (tmp_path / "~").exists()


def test_two_notebooks_lose_no_answer(tmp_path):
    """Notebooks that keep answers in one file at once lose none.

    Before: the last to write won.
    """
    widgets = [asked(tmp_path, f"{i}?") for i in range(24)]
    for widget in widgets:
        widget.choice.value = "no"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda widget: widget._keep(None), widgets))
    assert kept(tmp_path) == {f"{i}?": "no" for i in range(24)}
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.json"]


def test_a_choice_that_is_none_any_more_cannot_be_kept(tmp_path):
    """Where the choices have changed, nothing is kept before a new choice."""
    keep(asked(tmp_path), "no")
    other = ct.predict("A?", ["often", "seldom"], "often", folder=tmp_path)
    assert other.choice.value is None and other.keep.disabled and other.show.disabled
