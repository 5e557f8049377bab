"""Short texts whose law is known: reviews from a grammar, or names. Knows nothing of samplers."""

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cfg_tutorial.diffusion import Masked, check_tokens, in_slices
from cfg_tutorial.domains.base import SKEWED, Batch, Domain, together
from cfg_tutorial.domains.mixtures import COLOURS
from cfg_tutorial.guidance import check_label
from cfg_tutorial.networks import Transformer
from cfg_tutorial.samplers import sample_unmask
from cfg_tutorial.training import data_path

# What is reviewed, and its parts. Every word belongs to one topic.
TOPICS = {
    "food": (["soup", "curry", "pizza"], ["garnish", "sauce", "crust"]),
    "film": (["film", "sequel", "comedy"], ["plot", "cast", "ending"]),
    "hotel": (["hotel", "hostel", "suite"], ["bed", "lobby", "shower"]),
    "music": (["album", "song", "concert"], ["chorus", "rhythm", "melody"]),
    "book": (["novel", "memoir", "thriller"], ["prose", "cover", "preface"]),
    "phone": (["phone", "tablet", "laptop"], ["screen", "battery", "camera"]),
    "car": (["car", "van", "scooter"], ["engine", "brake", "seat"]),
    "coat": (["coat", "jacket", "raincoat"], ["lining", "collar", "zip"]),
}
GOOD = ["superb", "great", "lovely", "brilliant"]
BAD = ["awful", "poor", "dreadful", "shoddy"]
DETERMINERS, VERBS, OWNERS = ["the", "this", "that"], ["was", "seemed", "proved"], ["its", "the"]
WRONG = 0.3  # how often a judgement does not fit the class; the two judge independently

SLICE = 512  # rows at a time: of names, each is held against more than a thousand
NAME_LENGTH = 9
END = "."  # fills a name up to its length


class TokenMixture(nn.Module):
    """A mixture of laws under which places are independent: an exact model of tokens.

    Called as a model, (tokens, level, label) -> log-probabilities (n, length, vocab_size) of
    float64: the law of each masked place given the places that are not; the level is not needed.
    Places that no row can have together, as parallel steps may reveal, are taken to say nothing.
    A component of one row alone makes it the law of a list of rows. Rows may be longer than
    ``tables`` with padding, which changes nothing.

    Parameters
    ----------
    tables : Tensor (components, length, vocab_size), each place a law
    weights : Tensor (num_classes, components), each row p(component | class), classes equally
        likely; or, for labels of k parts, (*num_classes, components), proportional to
        p(label, component). A null part is one that is not known.
    component_modes : Tensor (components,) of int, the mode of each; its own number unless given

    Raises
    ------
    ValueError : shapes that do not agree, or rows that are not laws

    Lesson: 03_text_tokens.
    """

    tables: Tensor
    log_tables: Tensor
    log_weights: Tensor
    log_prior: Tensor
    component_modes: Tensor
    edges: tuple[float, ...] = ()
    batch_size = 256
    p_uncond = 0.5  # nothing was trained; any share but 0 says that the null label has a meaning

    def __init__(self, tables: Any, weights: Any, component_modes: Any = None):
        super().__init__()
        tables, weights = (torch.as_tensor(a, dtype=torch.float64) for a in (tables, weights))
        ok = tables.ndim == 3 and tables.numel() > 0 and bool((tables >= 0).all())
        ok = ok and bool(((tables.sum(-1) - 1).abs() < 1e-6).all())
        self._check("tables", tables, ok, "(components, length, words), each place a law")
        ok = weights.ndim >= 2 and weights.shape[-1] == len(tables) and bool((weights >= 0).all())
        ok = ok and (weights.ndim > 2 or bool(((weights.sum(1) - 1).abs() < 1e-6).all()))
        ok = ok and bool(weights.sum() > 0)
        self._check("weights", weights, ok, f"(num_classes, {len(tables)}), each row a law")
        self.length, self.vocab_size = tables.shape[1:]
        self.mask_token, self.pad_token = self.vocab_size, self.vocab_size + 1
        sizes = list(weights.shape[:-1])
        self.num_classes: Any = sizes[0] if len(sizes) == 1 else torch.tensor(sizes)
        self.null_label = self.num_classes
        prior = weights.flatten(1).sum(1)  # of the first part
        for part in range(len(sizes)):  # a null part is summed out
            weights = torch.cat([weights, weights.sum(part, keepdim=True)], part)
        weights = weights / weights.sum(-1, keepdim=True)
        # Masked and padded places say nothing: log 1.
        silent = torch.zeros(*tables.shape[:2], 2, dtype=torch.float64)
        log_tables = torch.cat([tables.log(), silent], 2).permute(1, 2, 0).contiguous()
        modes = torch.arange(len(tables)) if component_modes is None else component_modes
        self.register_buffer("tables", tables)
        self.register_buffer("log_tables", log_tables)
        self.register_buffer("log_weights", weights.nan_to_num(0).log())
        self.register_buffer("log_prior", prior.log())
        self.register_buffer("component_modes", torch.as_tensor(modes))
        self.num_modes = int(self.component_modes.max()) + 1
        self.rows_run = 0

    @staticmethod
    def _check(name: str, value: Tensor, ok: bool, expected: str) -> None:
        if not ok:
            raise ValueError(
                f"The '{name}' parameter of TokenMixture must be {expected}. "
                f"Got shape {tuple(value.shape)}, {str(value.tolist())[:60]}, instead."
            )

    def _label(self, label: Any, n: int) -> Tensor:
        label = self.null_label if label is None else label
        return check_label(label, n, self.null_label, "TokenMixture")

    def _weights_of(self, label: Any, n: int) -> Tensor:
        """Return log p(component | label): (n, components)."""
        label = self._label(label, n).to(self.tables.device)
        return self.log_weights[tuple(label.reshape(n, -1).unbind(1))]

    def _log_joint(self, tokens: Tensor, label: Any) -> Tensor:
        """Return log p(component, the places that are not masked | label): (n, components)."""
        tokens = check_tokens(tokens, self, "TokenMixture")
        beyond = tokens[:, self.length :]
        if tokens.shape[1] < self.length or (beyond != self.pad_token).any():
            raise ValueError(
                f"The 'tokens' parameter of TokenMixture must have {self.length} places and then "
                f"padding alone. Got shape {tuple(tokens.shape)} instead."
            )
        places = zip(self.log_tables, tokens.T, strict=False)
        return sum((table[words] for table, words in places), self._weights_of(label, len(tokens)))

    def log_prob(self, tokens: Tensor, label: Any = None) -> Tensor:
        """Return log p(places that are not masked | label): (n,); None: no class given."""
        return self._log_joint(tokens, label).logsumexp(1)

    def component_posterior(self, tokens: Tensor, label: Any = None) -> Tensor:
        """Return p(component | places that are not masked, label): (n, components).

        Where no row has these places together: p(component | label).
        """
        joint = self._log_joint(tokens, label)
        possible = joint.isfinite().any(1, keepdim=True)
        return torch.where(possible, joint, self._weights_of(label, len(tokens))).softmax(1)

    def mode_posterior(self, tokens: Tensor, label: Any = None) -> Tensor:
        """Return p(mode | places that are not masked, label): (n, num_modes)."""
        found = self.component_posterior(tokens, label)
        return found.new_zeros(len(found), self.num_modes).index_add(1, self.component_modes, found)

    def posterior(self, tokens: Tensor) -> Tensor:
        """Return p(class | places that are not masked): (n, num_classes), of a label of several
        parts the law of the first; NaN where no row has these places together."""
        null = torch.as_tensor(self.null_label).reshape(-1)
        each = []
        for c in range(int(null[0])):
            label = torch.cat([null.new_tensor([c]), null[1:]]).reshape_as(null)
            label = label[0] if len(null) == 1 else label
            each.append(self.log_prob(tokens, label))
        return (torch.stack(each, 1) + self.log_prior).softmax(1)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        self.rows_run += len(x)
        return in_slices(self._predict, self.batch_size, x, level, self._label(label, len(x)))

    def _predict(self, tokens: Tensor, level: Tensor, label: Tensor) -> Tensor:
        posterior = self.component_posterior(tokens, label)
        law = (posterior @ self.tables.flatten(1)).view(-1, self.length, self.vocab_size)
        extra = tokens.shape[1] - self.length
        if extra:  # nothing is known of padding
            law = nn.functional.pad(law, (0, 0, 0, extra), value=1 / self.vocab_size)
        known = tokens < self.vocab_size  # a word that is seen is certain
        certain = nn.functional.one_hot(tokens.clamp(max=self.vocab_size - 1), self.vocab_size)
        return torch.where(known[..., None], certain.to(law), law).log()

    def sample(
        self, n: int, label: Any = None, seed: int = 0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return n rows (n, length) of p(tokens | label)."""
        generator = generator or torch.Generator().manual_seed(seed)
        law = self._weights_of(label, n).exp()
        return self.sample_components(_draw(law, generator), generator)

    def sample_components(self, component: Tensor, generator: torch.Generator) -> Tensor:
        """Return a row of each component in ``component`` (n,): (n, length)."""
        return _draw(self.tables[component], generator)

    def entropy(self, label: Any) -> float:
        """Return the entropy of p(tokens | label) in nats, where a row tells its component."""
        law = self._weights_of(label, 1)[0].exp()
        inside = torch.special.entr(self.tables).sum((1, 2))
        return (torch.special.entr(law).sum() + law @ inside).item()

    def tilted_weights(self, scale: float, label: int) -> Tensor:
        """Return the modes' law under p(row | label)^scale p(row)^(1 - scale): (num_modes,).

        Exact where a row tells its component, as in all of ours.
        """
        null = self._weights_of(None, 1)[0]
        own = self._weights_of(label, 1)[0]
        log = torch.where(own.isfinite(), scale * own + (1 - scale) * null, -torch.inf)
        law = (null if scale == 0 else log).softmax(0)
        return law.new_zeros(self.num_modes).index_add(0, self.component_modes, law)


def _draw(law: Tensor, generator: torch.Generator) -> Tensor:
    """Return a draw of each law in ``law`` (..., k): (...)."""
    return _place(law, torch.rand(law.shape[:-1], generator=generator, dtype=law.dtype))


def _place(law: Tensor, luck: Tensor) -> Tensor:
    """Return where ``luck`` (...), from 0 to 1, falls in each law (..., k): (...)."""
    cdf = law.cumsum(-1)
    return torch.searchsorted(cdf, luck[..., None] * cdf[..., -1:], right=True)[..., 0]


class Corpus(NamedTuple):
    """Words, and the exact law of the rows that they make."""

    words: list[str]
    between: str  # what stands between two words
    law: TokenMixture
    mode_names: list[str]
    class_names: list[str]
    mode_weights: Tensor


def reviews(mode_weights: Tensor) -> Corpus:
    """Return reviews such as "the soup was superb and its garnish great".

    A class, good or bad, weighs the topics and chooses two judgements, each of them wrong with
    probability WRONG, independently; they are joined by "and" if they agree, else by "but".
    """
    topics = list(TOPICS)[: mode_weights.shape[1]]
    judged = [*GOOD, *BAD]
    places: list[list[str]] = [DETERMINERS, [], VERBS, judged, ["and", "but"], OWNERS, [], judged]
    places[1] = [word for topic in topics for word in TOPICS[topic][0]]
    places[6] = [word for topic in topics for word in TOPICS[topic][1]]
    words = list(dict.fromkeys(word for place in places for word in place))

    def even(chosen: list[str]) -> Tensor:
        table = torch.zeros(len(words), dtype=torch.float64)
        table[[words.index(word) for word in chosen]] = 1 / len(chosen)
        return table

    tables, joint = [], []
    for k, topic in enumerate(topics):
        things, parts = TOPICS[topic]
        for first in (GOOD, BAD):
            for second in (GOOD, BAD):
                joined = ["and"] if first is second else ["but"]
                row = [DETERMINERS, things, VERBS, first, joined, OWNERS, parts, second]
                tables.append(torch.stack([even(chosen) for chosen in row]))
                fits = [[1 - WRONG if j is own else WRONG for j in (first, second)]
                        for own in (GOOD, BAD)]  # fmt: skip
                joint.append([mode_weights[c, k] * a * b for c, (a, b) in enumerate(fits)])
    weights = torch.tensor(joint, dtype=torch.float64).T
    modes = torch.arange(len(topics)).repeat_interleave(4)
    law = TokenMixture(torch.stack(tables), weights, modes)
    return Corpus(words, " ", law, topics, ["good", "bad"], mode_weights)


@functools.cache
def names() -> Corpus:
    """Return first names and surnames of the US census of 1990, letter by letter.

    Class: the list (female, male, surname), equally likely; mode: the initial. A name is as likely
    as in its list, cut to the most frequent.
    """
    text = data_path("names.csv").read_text(encoding="utf-8").splitlines()[1:]
    lines = [line.split(",") for line in text]
    class_names = list(dict.fromkeys(line[0] for line in lines))
    found = list(dict.fromkeys(line[1] for line in lines))
    words = [END, *"abcdefghijklmnopqrstuvwxyz"]
    rows = torch.tensor([[words.index(c) for c in name.ljust(NAME_LENGTH, END)] for name in found])
    weights = torch.zeros(len(class_names), len(found), dtype=torch.float64)
    for own, name, share in lines:
        weights[class_names.index(own), found.index(name)] = float(share)
    weights /= weights.sum(1, keepdim=True)
    initials = [name[0] for name in found]
    mode_names = sorted(set(initials))
    modes = torch.tensor([mode_names.index(initial) for initial in initials])
    by_mode = torch.zeros(len(class_names), len(mode_names), dtype=torch.float64)
    by_mode.index_add_(1, modes, weights)
    law = TokenMixture(nn.functional.one_hot(rows, len(words)), weights, modes)
    return Corpus(words, "", law, mode_names, class_names, by_mode)


class Text(Domain):
    """Reviews, good or bad, of eight topics that both classes share; or names.

    Tokens (n, length) of int64; masked places are ``diffusion.mask_token``.

    Parameters
    ----------
    mode_weights : Tensor (2, num_modes), at most 8 topics, in the order of ``mode_names``
    prompt : bool, labels (n, 2) of class and topic, both of which may be null; training shows
        none, class, topic or both, one draw a sample
    corpus : "reviews", or "names" (class: list, mode: initial; the law is that of the lists)
    autoregressive : bool, GPT-2 from left to right, in place of BERT in random order

    Raises
    ------
    ValueError : an unknown corpus, or mode_weights that it cannot have

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

    def __init__(
        self,
        mode_weights: Any = None,
        prompt: bool = False,
        corpus: str = "reviews",
        autoregressive: bool = False,
    ):
        if corpus not in ("reviews", "names"):
            raise ValueError(
                "The 'corpus' parameter of load('text') must be 'reviews' or 'names'. "
                f"Got {corpus!r} instead."
            )
        if corpus == "names" and mode_weights is not None:
            raise ValueError(
                "The 'mode_weights' parameter of load('text') must not be given for names, whose "
                f"lists weigh them. Got {mode_weights!r} instead."
            )
        if corpus == "reviews":
            super().__init__(SKEWED if mode_weights is None else mode_weights)
            if self.num_classes != 2 or self.num_modes > len(TOPICS):
                raise ValueError(
                    "The 'mode_weights' parameter of load('text') must be (2, num_modes), at most "
                    f"8 modes. Got shape {tuple(self.mode_weights.shape)} instead."
                )
        self.corpus = names() if corpus == "names" else reviews(self.mode_weights)
        if corpus == "names":
            super().__init__(self.corpus.mode_weights)
        self.kind, self.prompted, self.autoregressive = corpus, prompt, autoregressive
        self.law, self.words = self.corpus.law, self.corpus.words
        self.mode_names, self.class_names = self.corpus.mode_names, self.corpus.class_names
        self.diffusion = Masked(
            self.law.vocab_size, self.law.mask_token, self.law.pad_token, autoregressive
        )
        if autoregressive:
            self.sampler = functools.partial(sample_unmask, order="left")
        self.num_steps = self.law.length
        if prompt:
            self.num_classes = torch.tensor([len(self.classes), self.num_modes])

    @property
    def file_name(self) -> str:
        kind = "" if self.kind == "reviews" else f"-{self.kind}"
        return "text" + kind + "-prompt" * self.prompted + "-left" * self.autoregressive

    def config(self) -> dict[str, Any]:
        return {**super().config(), "words": self.words, "prompt": self.prompted}

    def data(
        self, n: int, seed: int = 0, held_out: bool = False, stratified: bool = False
    ) -> Batch:
        """Return n rows: class, mode, then a component of both, and its words."""
        generator = self.generator(seed, held_out)
        label, mode = self.draw_modes(n, generator, stratified)
        weights, modes = self.law.log_weights[:-1].exp(), self.law.component_modes
        luck = torch.rand(n, generator=generator, dtype=weights.dtype)
        parts = zip(label.split(SLICE), mode.split(SLICE), luck.split(SLICE), strict=True)
        components = (_place(weights[c] * (modes == m[:, None]), u) for c, m, u in parts)
        x = self.law.sample_components(together(components, n), generator)
        return Batch(x, torch.stack([label, mode], 1) if self.prompted else label, mode)

    def training_batch(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        batch = self.data(n, seed, stratified=True)
        if not self.prompted:
            return batch.x, batch.label
        # Label dropout hides both parts; of the others a third each sees class, topic or both.
        kind = torch.randint(3, (n,), generator=self.generator(seed))
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
        if not texts:
            raise ValueError("The 'texts' parameter of encode must have a text. Got none instead.")
        if self.corpus.between:
            split = [text.split() for text in texts]
        else:
            split = [list(text.lower().ljust(self.law.length, END)) for text in texts]
        tokens = {**{word: i for i, word in enumerate(self.words)}, "_": self.law.mask_token}
        for text, parts in zip(texts, split, strict=True):
            unknown = [part for part in parts if part not in tokens]
            if unknown or len(parts) != self.law.length:
                raise ValueError(
                    f"The 'texts' parameter of encode must be texts of {self.law.length} of these "
                    f"words, or _ for a masked place: {' '.join(self.words)}. "
                    f"Got {unknown or len(parts)} in {text!r} instead."
                )
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
            part = next((i for i, kind in enumerate(kinds) if word in kind), None)
            if part is None or label[part] != null[part]:
                known = "; ".join(" ".join(kind) for kind in kinds)
                raise ValueError(
                    f"The 'words' parameter of prompt must be at most one of each of {known}. "
                    f"Got {word!r} in {words} instead."
                )
            label[part] = kinds[part].index(word)
        return torch.tensor(label if self.prompted else label[0])

    def show(self, x: Tensor, label: Any = None, limit: int = 24) -> Any:
        """Draw the first ``limit`` texts, each in its mode's colour; invalid ones are marked."""
        import matplotlib.pyplot as plt

        x = x.detach().cpu()[:limit]
        mode = self.assign(x).tolist()
        figure = plt.figure(figsize=(5.6, 0.24 * len(x) + 0.3 * isinstance(label, int) + 0.1))
        figure.add_axes((0, 0, 1, 1)).set_axis_off()  # a notebook shows no figure without axes
        height = figure.get_figheight()
        if isinstance(label, int) and label < len(self.classes):
            title = f"class {label}: {self.class_names[label]}"
            figure.text(0.01, 1 - 0.2 / height, title, fontsize=9, va="center")
        for i, (text, k) in enumerate(zip(self.decode(x), mode, strict=True)):
            y = (len(x) - i - 0.5) * 0.24 / height
            colour = COLOURS[k % len(COLOURS)] if k >= 0 else "#777777"
            name = self.mode_names[k] if k >= 0 else "\u2717 invalid"
            style = "normal" if k >= 0 else "italic"
            figure.text(0.01, y, name, fontsize=8, color=colour, va="center", weight="bold")
            figure.text(0.15, y, text, fontsize=9, color=colour, va="center", style=style)
        return figure
