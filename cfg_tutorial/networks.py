"""Small networks (x, level, label) -> raw prediction; they know nothing of diffusion.

Networks of points and pictures take x scaled to variance 1 and embed log(sigma) / 4; those of
tokens need no level, since it shows. A label's last value, `num_classes`, stands for "no label".
Each row of the answer depends on the same row of the input alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Condition(nn.Module):
    """Embed a noise level and a label together, (n,) and (n,) -> (n, width).

    Sines and cosines of log(sigma) / 4 at `width / 2` frequencies go through one layer; the row
    of the label, of standard deviation 1, is added.

    Source: Karras et al. 2022, appendix F (arXiv 2206.00364).
    """

    frequencies: Tensor

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        frequencies = math.pi * torch.logspace(-1, 1, width // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.level = nn.Linear(2 * (width // 2), width)
        self.label = nn.Embedding(num_classes + 1, width)

    def forward(self, sigma: Tensor, label: Tensor) -> Tensor:
        angles = (sigma.log() / 4)[:, None] * self.frequencies
        return self.level(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.label(label)


class MLP(nn.Module):
    """Residual layers on points, each gated by the noise level and the label.

    Parameters
    ----------
    dim : int, the points' dimension
    num_classes : int
    hidden : int, the width
    depth : int, the number of hidden layers
    """

    def __init__(self, dim: int, num_classes: int, hidden: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.condition = Condition(num_classes, hidden)
        self.gates = nn.Linear(hidden, depth * hidden)
        self.enter = nn.Linear(dim, hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth))
        self.leave = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """Return the raw prediction, of x's shape (n, dim)."""
        condition = F.silu(self.condition(sigma, label))
        h = self.enter(x) + condition
        gates = self.gates(condition).chunk(len(self.layers), dim=1)
        for layer, gate in zip(self.layers, gates, strict=True):
            h = torch.addcmul(h, layer(F.silu(h)), 1 + gate)
        return self.leave(F.silu(h))


class Block(nn.Module):
    """Two convolutions round a skip; the condition scales and shifts between them (FiLM).

    Source: Perez et al. 2018 (arXiv 1709.07871); Dhariwal and Nichol 2021 (arXiv 2105.05233).
    """

    def __init__(self, channels_in: int, channels: int, width: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(8, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.film = nn.Linear(width, 2 * channels)
        self.norm_out = nn.GroupNorm(8, channels)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        same = channels_in == channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm_out(h), 1 + scale)
        return self.skip(x) + self.conv_out(F.silu(h))


class Attention(nn.Module):
    """Self-attention over the places of a picture, four heads, with a skip."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).view(n, 3, self.heads, channels // self.heads, height * width)
        query, key, value = qkv.transpose(3, 4).unbind(1)
        h = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(h.transpose(2, 3).reshape(n, channels, height, width))


class UNet(nn.Module):
    """A U-Net on 2 x 2 patches: two resolutions, attention at the coarser one.

    Pictures of 1 x 16 x 16 become 8 x 8 places with `channels` channels, then 4 x 4 with twice
    as many, and come back.

    Parameters
    ----------
    num_classes : int
    channels : int, a multiple of 8; 48 gives .67 million parameters
    width : int, of the condition
    colours : int, channels of the pictures, 1 for grey ones

    Source: Ronneberger et al. 2015 (arXiv 1505.04597).
    """

    def __init__(
        self, num_classes: int, channels: int = 48, width: int = 192, colours: int = 1
    ) -> None:
        super().__init__()
        deep = 2 * channels
        self.condition = Condition(num_classes, width)
        self.enter = nn.Conv2d(4 * colours, channels, 3, padding=1)
        self.down = Block(channels, channels, width)
        self.shrink = nn.Conv2d(channels, deep, 2, stride=2)
        self.before = Block(deep, deep, width)
        self.attention = Attention(deep)
        self.after = Block(deep, deep, width)
        self.grow = nn.ConvTranspose2d(deep, channels, 2, stride=2)
        self.up = Block(2 * channels, channels, width)
        self.norm = nn.GroupNorm(8, channels)
        self.leave = nn.Conv2d(channels, 4 * colours, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """Return the raw prediction, of x's shape (n, colours, height, width)."""
        high, wide = x.shape[2:]
        if high % 4 or wide % 4:
            x = F.pad(x, (0, -wide % 4, 0, -high % 4), mode="replicate")
        condition = F.silu(self.condition(sigma, label))
        fine = self.down(self.enter(F.pixel_unshuffle(x, 2)), condition)
        coarse = self.before(self.shrink(fine), condition)
        coarse = self.after(self.attention(coarse), condition)
        h = self.up(torch.cat([self.grow(coarse), fine], dim=1), condition)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), 2)[..., :high, :wide]


class Transformer(nn.Module):
    """A language model of transformers that is told the label by tokens before the first place.

    Its vocabulary: the words, the mask, the padding, then a prompt token for each value of each
    part of the label, "no label" included. Both kinds are made from a configuration: nothing is
    downloaded. Padded places are hidden from the others.

    Parameters
    ----------
    vocab_size : int, number of words; mask and padding are the two tokens that follow
    num_classes : list of int, one per part of the label
    causal : bool, GPT-2, which sees only what stands before a place, or else BERT
    hidden, depth, heads : int
    longest : int, greatest number of places, prompt included

    Source: Devlin et al. 2018 (arXiv 1810.04805); Radford et al. 2019.
    """

    first: Tensor

    def __init__(
        self,
        vocab_size: int,
        num_classes: list[int],
        causal: bool = False,
        hidden: int = 64,
        depth: int = 2,
        heads: int = 4,
        longest: int = 32,
    ) -> None:
        super().__init__()
        self.vocab_size, self.pad_token, self.causal = vocab_size, vocab_size + 1, causal
        sizes = torch.tensor([count + 1 for count in num_classes])
        first = vocab_size + 2 + sizes.cumsum(0) - sizes
        self.register_buffer("first", first, persistent=False)
        total = vocab_size + 2 + int(sizes.sum())
        make = gpt2 if causal else bert
        self.transformer = make(total, hidden, depth, heads, longest)

    def prompt(self, label: Tensor) -> Tensor:
        """Return the prompt tokens (n, k) of labels (n,) or (n, k)."""
        return label.reshape(len(label), -1) + self.first

    def forward(self, tokens: Tensor, level: Tensor, label: Tensor) -> Tensor:
        """Return logits (n, length, words) of tokens (n, length); the level is not needed."""
        prompt = self.prompt(label)
        length, before = tokens.shape[1], prompt.shape[1]
        if self.causal:  # the last prompt token predicts the first place
            tokens, before = tokens[:, :-1], before - 1
        ids = torch.cat([prompt, tokens], 1)
        padded = ids == self.pad_token
        seen = (~padded).long() if padded.any() else None
        logits = self.transformer(input_ids=ids, attention_mask=seen).logits
        return logits[:, before : before + length, : self.vocab_size]


def _transformers() -> Any:
    """Return transformers, which loads torchaudio too, where there is one."""
    try:
        import transformers
        from transformers import BertForMaskedLM, GPT2LMHeadModel  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        said = f"transformers, which text needs, does not load: {error}"
        raise ImportError(f"{said}. `cfg-tutorial doctor` says what to do.") from error
    return transformers


def bert(vocab_size: int, hidden: int, depth: int, heads: int, longest: int) -> nn.Module:
    """Return a fresh ``BertForMaskedLM``."""
    library = _transformers()
    return library.BertForMaskedLM(
        library.BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * hidden,
            max_position_embeddings=longest,
            hidden_dropout_prob=0.0,  # endless fresh data: nothing to overfit
            attention_probs_dropout_prob=0.0,
            tie_word_embeddings=False,
        )
    )


def gpt2(vocab_size: int, hidden: int, depth: int, heads: int, longest: int) -> nn.Module:
    """Return a fresh ``GPT2LMHeadModel``."""
    library = _transformers()
    return library.GPT2LMHeadModel(
        library.GPT2Config(
            vocab_size=vocab_size,
            n_embd=hidden,
            n_layer=depth,
            n_head=heads,
            n_positions=longest,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
    )
