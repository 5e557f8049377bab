"""Short texts whose law is known, as tokens. Knows nothing of what they say."""

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_tokens, require
from cfg_tutorial.diffusion import Masked
from cfg_tutorial.domains.base import Batch, Domain, together
from cfg_tutorial.models import TokenMixture
from cfg_tutorial.models.exact import place_luck
from cfg_tutorial.networks import Transformer
from cfg_tutorial.samplers import sample_unmask

SLICE = 512  # rows at a time: of names, each is held against more than a thousand
END = "."  # fills a text that has fewer places, where words are letters


class Corpus(NamedTuple):
    """Words, and the exact law of the rows that they make."""

    kind: str  # what names its files, "" for reviews
    words: list[str]
    between: str  # what stands between two words
    law: TokenMixture
    mode_names: list[str]
    class_names: list[str]
    mode_weights: Tensor


class Text(Domain):
    """Rows of tokens whose law is known; ``Reviews`` and ``Names`` say which.

    Tokens (n, length) of int64; masked places are ``diffusion.mask_token``.

    Parameters
    ----------
    corpus : Corpus
    prompt : bool, labels (n, 2) of class and mode, both of which may be null; training shows
        none, class, mode or both, one draw a sample
    autoregressive : bool, GPT-2 from left to right, in place of BERT in random order

    Lesson: 03_text_tokens.
    """

    name = "text"
    recipe = {"train_steps": 2500, "batch_size": 128, "lr": 4e-3, "ema": 0.998}
    # Without a class the network must learn how the judgements seen tell the topic: a faint trace.
    # With .15 of the rows for it, scale 5 kept .3 to .4 effective modes less than the exact model.
    p_uncond = 0.4
    num_threads = 1
    num_shown = 12
    sampler = staticmethod(sample_unmask)

    def __init__(self, corpus: Corpus, prompt: bool = False, autoregressive: bool = False):
        super().__init__(corpus.mode_weights)
        self.corpus, self.prompted, self.autoregressive = corpus, prompt, autoregressive
        self.law, self.words = corpus.law, corpus.words
        self.mode_names, self.class_names = corpus.mode_names, corpus.class_names
        law = self.law
        self.diffusion = Masked(law.vocab_size, law.mask_token, law.pad_token, autoregressive)
        if autoregressive:
            self.sampler = functools.partial(sample_unmask, order="left")
        self.num_steps = law.length
        if prompt:
            self.num_classes = torch.tensor([len(self.classes), self.num_modes])
        self.file_name = "text" + corpus.kind + "-prompt" * prompt + "-left" * autoregressive
        self.options = {"words": self.words, "prompt": prompt}
        self.laws["tilted_whole"] = self.whole_law

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n rows: class, mode, then a component of both, and its words."""
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        weights, modes = self.law.log_weights[:-1].exp(), self.law.component_modes
        luck = torch.rand(n, generator=generator, dtype=weights.dtype)
        parts = zip(label.split(SLICE), mode.split(SLICE), luck.split(SLICE), strict=True)
        components = (place_luck(weights[c] * (modes == m[:, None]), u) for c, m, u in parts)
        x = self.law.sample_components(together(components, n), generator)
        return Batch(x, torch.stack([label, mode], 1) if self.prompted else label, mode)

    def training_batch(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        batch = self.data(n, seed, stratified=True)
        if not self.prompted:
            return batch.x, batch.label
        # Label dropout hides both parts; of the others a third each sees class, topic or both.
        # The data are drawn from the seed's own generator; of a seed torch takes 32 bits.
        apart = self.generator(2**30 + seed)
        kind = torch.randint(3, (n,), generator=apart)
        hidden = torch.stack([kind == 1, kind == 0], 1)
        return batch.x, torch.where(hidden, self.num_classes, batch.label)

    def network(self) -> nn.Module:
        sizes = torch.as_tensor(self.num_classes).reshape(-1).tolist()
        return Transformer(self.law.vocab_size, sizes, causal=self.autoregressive)

    def exact(self) -> TokenMixture:
        """Return the law's own conditionals, of any places given any others."""
        law = self.law
        if not self.prompted:
            weights = law.log_weights[:-1].exp()
        else:  # p(class, topic, component)
            own = law.component_modes == torch.arange(self.num_modes)[:, None]
            weights = law.log_weights[:-1].exp()[:, None] * own
        return TokenMixture(law.tables, weights, law.component_modes)

    def assign(self, x: Tensor) -> Tensor:
        """Return the most likely mode given the row, -1 where the corpus cannot make it: (n,)."""
        return together((self._assign(part) for part in x.split(SLICE)), len(x))

    def _assign(self, x: Tensor) -> Tensor:
        words = (x >= 0) & (x < self.law.vocab_size)
        whole = words.all(1) & (x.shape[1] == self.law.length)
        mode = torch.full((len(x),), -1, device=x.device)
        if whole.any():
            rows = x[whole]
            found = self.law.mode_posterior(rows).argmax(1)
            mode[whole] = torch.where(self.law.log_prob(rows).isfinite(), found, -1)
        return mode

    def features(self, x: Tensor) -> Tensor:
        """Return which word stands at each place: (n, length * words) of 0 and 1."""
        known = x.clamp(0, self.law.vocab_size - 1)
        return nn.functional.one_hot(known, self.law.vocab_size).flatten(1).float()

    def extra_measures(self, x: Tensor, label: int) -> dict[str, float]:
        """Return accuracy: the share of valid rows whose likeliest class is ``label``."""
        valid = x[self.assign(x) >= 0]
        if not len(valid):
            return {"accuracy": math.nan}
        return {"accuracy": (self.law.posterior(valid).argmax(1) == label).double().mean().item()}

    def whole_law(self, scale: float, label: int) -> Tensor:
        """Return the modes' law under the tilted law of whole rows: (num_modes,)."""
        return self.law.tilted_weights(scale, label)

    def encode(self, texts: str | list[str]) -> Tensor:
        """Return the tokens (n, length) of texts; "_" is a masked place.

        Raises
        ------
        ValueError : an unknown word (the known ones are listed), or another number of words
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        require(texts, "encode", "texts", "one text or more", "none")
        if self.corpus.between:
            split = [text.split() for text in texts]
        else:
            split = [list(text.lower().ljust(self.law.length, END)) for text in texts]
        tokens = {**{word: i for i, word in enumerate(self.words)}, "_": self.law.mask_token}
        for text, parts in zip(texts, split, strict=True):
            unknown = [part for part in parts if part not in tokens]
            ok, words = not unknown and len(parts) == self.law.length, " ".join(self.words)
            expected = (
                f"texts of {self.law.length} of these words, or _ for a masked place: {words}"
            )
            require(ok, "encode", "texts", expected, f"{unknown or len(parts)} in {text!r}")
        return torch.tensor([[tokens[part] for part in parts] for parts in split])

    def decode(self, x: Tensor) -> list[str]:
        """Return the texts of tokens (n, length); "_" is a masked place, padding is left out."""
        x = check_tokens(x, self.law, "decode")
        words = [*self.words, "_", ""]
        texts = [self.corpus.between.join(words[token] for token in row) for row in x.tolist()]
        return [text.rstrip(END if not self.corpus.between else " ") for text in texts]

    def prompt(self, *words: str) -> Tensor:
        """Return the label of a prompt: no word, a class, a topic or both, in any order.

        Returns
        -------
        Tensor (2,) of class and topic, null where the prompt does not say; (), a class, where
        the domain was loaded without prompt=True

        Raises
        ------
        ValueError : a word that is none of them (they are listed), or two of one kind
        """
        null = torch.as_tensor(self.num_classes).reshape(-1)
        kinds = [self.class_names, self.mode_names][: len(null)]
        label = null.tolist()
        for word in " ".join(words).split():
            part: Any = next((i for i, kind in enumerate(kinds) if word in kind), None)
            known = "; ".join(" ".join(kind) for kind in kinds)
            ok = part is not None and label[part] == null[part]
            expected = f"at most one of each of {known}"
            require(ok, "prompt", "words", expected, f"{word!r} in {words}")
            label[part] = kinds[part].index(word)
        return torch.tensor(label if self.prompted else label[0])

    def show(self, x: Tensor, label: Any = None, limit: int = 24) -> Any:
        """Draw the first ``limit`` texts, each in its mode's colour; invalid ones are marked."""
        from cfg_tutorial.domains.picture import Picture, plain

        x = x.detach().cpu()[:limit]
        mode = self.assign(x).tolist()
        figure = Picture(figsize=(5.6, 0.24 * len(x) + 0.3 * isinstance(label, int) + 0.1))
        figure.add_axes((0, 0, 1, 1)).set_axis_off()  # a notebook shows no figure without axes
        height = figure.get_figheight()
        if isinstance(label, int) and label < len(self.classes):
            title = f"class {label}: {self.class_names[label]}"
            figure.text(0.01, 1 - 0.2 / height, plain(title), fontsize=9, va="center")
        for i, (text, k) in enumerate(zip(self.decode(x), mode, strict=True)):
            y = (len(x) - i - 0.5) * 0.24 / height
            colour = self.colour(k)
            name = self.mode_names[k] if k >= 0 else "\u2717 invalid"
            style = "normal" if k >= 0 else "italic"
            figure.text(0.01, y, plain(name), fontsize=8, color=colour, va="center", weight="bold")
            figure.text(0.15, y, plain(text), fontsize=9, color=colour, va="center", style=style)
        return figure
