"""Files of one's own: folders of pictures and texts, lines, npz, and the atlas of them."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from toys import message

import cfg_tutorial as ct
from cfg_tutorial.app import cli
from cfg_tutorial.domains.folders import from_path
from cfg_tutorial.sweep import OWN

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 200, 30)}


def pictures(
    folder, classes=("day", "night"), modes=tuple(COLOURS), n=6, size=(12, 12), grey=False
):
    """Write n pictures of each class and mode, one colour with noise; return the folder."""
    generator = np.random.default_rng(0)
    for c in classes:
        for name in modes or ("red",):
            place = folder / c / (name if modes else "")
            place.mkdir(parents=True, exist_ok=True)
            for i in range(n):
                pixels = generator.integers(-20, 20, (*size[::-1], 3)) + COLOURS[name]
                picture = Image.fromarray(pixels.astype(np.uint8))
                picture.convert("L" if grey else "RGB").save(place / f"{i}.png")
    return folder


def lines(path, parts=3, n=20):
    """Write n lines of each class and mode; return the file."""
    generator = np.random.default_rng(0)
    text = ""
    for _ in range(n):
        for c in ("good", "bad"):
            for mode in ("tea", "bus"):
                words = f"the {mode} was {generator.choice(['very', 'a bit'])} {c}"
                text += "\t".join([c, mode, words] if parts == 3 else [c, words]) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_of_pictures(tmp_path):
    pictures(tmp_path / "cards")
    (tmp_path / "cards" / ".DS_Store").write_bytes(b"x")
    domain = ct.from_folder(tmp_path / "cards", quiet=True)
    assert domain.name == "cards" and domain.shape == (3, 12, 12)
    assert domain.class_names == ["day", "night"] and domain.mode_names == sorted(COLOURS)
    assert len(ct.check_domain(domain)) > 25
    x = domain.rows[True].x
    brightest = domain.decode(x).mean((2, 3)).argmax(1)
    assert [["red", "green", "blue"][k] for k in brightest] == [
        domain.mode_names[k] for k in domain.assign(x)
    ]


def test_grey_pictures_of_several_sizes_and_no_modes(tmp_path):
    pictures(tmp_path, modes=(), n=12, grey=True, size=(40, 90))
    pictures(tmp_path, ["third"], modes=(), n=12, grey=True, size=(70, 20))
    domain = ct.from_folder(tmp_path, quiet=True, num_modes=2)
    assert domain.shape == (1, 32, 32) and domain.mode_names[0] == "cluster 0"
    assert ct.from_folder(tmp_path, side=8, quiet=True).shape == (1, 8, 8)


@pytest.mark.parametrize("parts", [2, 3])
def test_lines_of_text(tmp_path, parts):
    domain = ct.from_lines(lines(tmp_path / "mine.txt", parts), quiet=True, num_modes=2)
    assert domain.name == "mine" and domain.kind == "tokens"
    assert domain.shape == (6,)  # "the tea was a bit good"
    assert domain.mode_names == (["bus", "tea"] if parts == 3 else ["cluster 0", "cluster 1"])
    words = {" ".join(row).strip() for row in domain.decode(domain.rows[False].x)}
    assert "the bus was very good" in words and len(words) == 8
    x = domain.sample(domain.exact(), 0, n=40, progress=False)
    assert domain.measure(x, 0).validity == 1
    assert {" ".join(row).strip() for row in domain.decode(x)} <= words


def test_a_folder_of_texts(tmp_path):
    for c in ("good", "bad"):
        for mode in ("tea", "bus"):
            (tmp_path / c / mode).mkdir(parents=True)
            text = "\n".join(f"{mode} {c} {i % 3}" for i in range(10))
            (tmp_path / c / mode / "all.txt").write_text(text, encoding="utf-8")
    domain = ct.from_folder(tmp_path, quiet=True)
    assert domain.shape == (3,) and domain.mode_names == ["bus", "tea"]
    assert domain.mode_weights.tolist() == [[0.5, 0.5]] * 2


def test_an_npz(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3)) + 9 * (np.arange(60) % 3)[:, None]
    np.savez(tmp_path / "heaps.npz", x=x, label=np.arange(60) % 2, mode=np.arange(60) % 3)
    domain = from_path(tmp_path / "heaps.npz", quiet=True)
    assert domain.name == "heaps" and domain.mode_names == ["0", "1", "2"]
    assert from_path(lines(tmp_path / "some.txt"), quiet=True).kind == "tokens"
    assert from_path(pictures(tmp_path / "cards"), quiet=True).kind == "pictures"


def test_what_cannot_be_read_is_named(tmp_path):
    def folder(name="cards"):
        return lambda: ct.from_folder(tmp_path / name, quiet=True)

    message(folder("none"), "'path'", "none")
    (tmp_path / "empty").mkdir()
    message(folder("empty"), "'path'", "no files")
    pictures(tmp_path / "cards")
    (tmp_path / "cards" / "day" / "red" / "9.png").write_bytes(b"no picture")
    message(folder(), "1 of 37 files", "9.png")
    (tmp_path / "cards" / "day" / "red" / "9.png").unlink()
    (tmp_path / "cards" / "day" / "lost.png").write_bytes(b"")
    message(folder(), "class/mode/", "1 and 2 folders deep")
    (tmp_path / "cards" / "day" / "lost.png").unlink()
    (tmp_path / "cards" / "day" / "red" / "a.txt").write_text("a", encoding="utf-8")
    message(folder(), "pictures or of .txt", ".png")
    (tmp_path / "sounds" / "a").mkdir(parents=True)
    (tmp_path / "sounds" / "a" / "a.wav").write_bytes(b"")
    message(folder("sounds"), "ct.Recordings")
    pictures(tmp_path / "good")
    message(lambda: ct.from_folder(tmp_path / "good", side=500, quiet=True), "'side'", "500")
    message(lambda: ct.from_lines(tmp_path / "none.txt"), "'path'", "none.txt")
    for text, said in (
        ("a b c\n", "lines of 1 parts"),
        ("", "no lines"),
        ("a\tb\na\tb\tc\n", "2 and 3"),
    ):
        (tmp_path / "bad.txt").write_text(text, encoding="utf-8")
        message(lambda: ct.from_lines(tmp_path / "bad.txt"), "'path'", said)
    (tmp_path / "bad.txt").write_bytes(b"a\t\xff\xfe\n")
    message(lambda: ct.from_lines(tmp_path / "bad.txt"), "UTF-8")
    np.savez(tmp_path / "y.npz", y=np.zeros(3))
    message(lambda: from_path(tmp_path / "y.npz"), "x, label", "['y']")
    np.savez(tmp_path / "objects.npz", x=np.array([{}]), label=np.zeros(1))
    message(lambda: from_path(tmp_path / "objects.npz"), "x, label", "objects.npz")
    message(lambda: from_path(tmp_path / "none.npz"), "x, label", "none.npz")


def test_an_atlas_of_ones_own_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", str(tmp_path / "cache"))
    x = np.random.default_rng(0).normal(size=(90, 2)) + 9 * (np.arange(90) % 3)[:, None]
    data, out = tmp_path / "images.npz", tmp_path / "atlas"
    np.savez(data, x=x, label=np.arange(90) % 2, mode=np.arange(90) % 3)
    arguments = ["atlas", "--data", str(data), "--out", str(out), "--workers", "1"]
    try:
        assert cli.main([*arguments, "--quick"]) == 0
        assert "my images: 90 points" in capsys.readouterr().out
        page = (out / "index.html").read_text(encoding="utf-8")
        shown = json.loads(
            re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.S)[1]
        )
        (domain,) = shown["domains"]
        assert domain["name"] == "my images" and domain["about"].startswith("90 points")
        assert domain["drawn"] == "exact" and len(domain["modes"]) == 3
        assert (out / "results.csv").read_text(encoding="utf-8").count("my images") > 100
        assert cli.main([*arguments, "--domains", "images"]) == 2
        assert cli.main(["atlas", "--data", str(tmp_path / "no.npz"), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert "--data do not go together" in said and "no.npz" in said
    finally:
        OWN.pop("my images", None)
