"""transformers' own guidance beside ours: where they agree, and three traps on the way.

Each of them leaves no trace in the text: only the numbers tell.
"""

import functools

import pytest
import torch
from toys import sharp

import cfg_tutorial as ct

NULL = 2
UNSAID = object()  # an option that is left to transformers


@functools.cache
def learned(prompt=False):
    """Return a GPT-2 that was not trained; and its net."""
    model = sharp(ct.load("text", autoregressive=True, prompt=prompt), 6)
    return model, model.net.transformer


def generate(model, prompt, seed=1, **options):
    """Return what transformers generates from prompt tokens (n, k): words alone, 8 places."""
    gpt = model.net.transformer
    others = list(range(model.vocab_size, gpt.config.vocab_size))
    torch.manual_seed(seed)
    defaults = dict(
        attention_mask=torch.ones_like(prompt),
        pad_token_id=model.pad_token,
        suppress_tokens=others,
        max_new_tokens=8,
        do_sample=True,
        top_k=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    options = {**defaults, **options}
    return gpt.generate(prompt, **{k: v for k, v in options.items() if v is not UNSAID})


def law_of(scores, words):
    """Return the log-probabilities of the words that a step's processed scores stand for."""
    return scores[:, :words].log_softmax(1)


def ours(model, sequences, label, scale):
    """Return our guided log-probabilities of each place, normalised: (n, 8, words)."""
    with torch.no_grad():
        prediction = ct.guided(model, scale)(sequences, torch.tensor(0.0), label)
    return prediction.log_softmax(-1)


@pytest.mark.parametrize("use_cache", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_with_a_null_prompt_its_scores_are_ours(scale, use_cache):
    model, _ = learned()
    label = torch.tensor([0, 1, 0, 1])
    prompt, null = (model.net.prompt(part) for part in (label, torch.full((4,), NULL)))
    found = generate(
        model, prompt, guidance_scale=scale, negative_prompt_ids=null, use_cache=use_cache
    )
    words = found.sequences[:, 1:]
    assert words.shape == (4, 8) and (words < model.vocab_size).all()
    expected = ours(model, words, label, scale)
    for place, scores in enumerate(found.scores):
        torch.testing.assert_close(
            law_of(scores, model.vocab_size), expected[:, place], atol=1e-4, rtol=0
        )
    if scale not in (0.0, 1.0):  # and guided they are
        plain = ours(model, words, label, 1.0)
        assert (law_of(found.scores[0], model.vocab_size) - plain[:, 0]).abs().max() > 0.1


def test_with_prompts_of_two_tokens_its_scores_are_ours():
    model, _ = learned(prompt=True)
    label = torch.tensor([[0, 3], [1, 8], [2, 5]])
    null = model.net.prompt(torch.tensor([[2, 8]] * 3))
    found = generate(model, model.net.prompt(label), guidance_scale=3.0, negative_prompt_ids=null)
    expected = ours(model, found.sequences[:, 2:], label, 3.0)
    for place, scores in enumerate(found.scores):
        torch.testing.assert_close(
            law_of(scores, model.vocab_size), expected[:, place], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("use_cache", [False, True])
def test_trap_without_a_negative_prompt_a_class_token_is_not_guided(use_cache):
    # The reference is the prompt's last token: of a prompt of one token, the prompt itself.
    model, _ = learned()
    prompt = model.net.prompt(torch.tensor([0, 1, 1]))
    plain = generate(model, prompt, use_cache=use_cache)
    for scale in (3.0, 0.0, 100.0):
        found = generate(model, prompt, guidance_scale=scale, use_cache=use_cache)
        assert torch.equal(found.sequences, plain.sequences)
        for a, b in zip(found.scores, plain.scores, strict=True):
            torch.testing.assert_close(
                law_of(a, model.vocab_size), law_of(b, model.vocab_size), atol=2e-3, rtol=0
            )
    null = model.net.prompt(torch.full((3,), NULL))
    guided = generate(model, prompt, guidance_scale=3.0, negative_prompt_ids=null)
    assert not torch.equal(guided.sequences, plain.sequences)


def test_trap_without_a_negative_prompt_the_reference_is_the_last_token():
    # Of class and topic, the topic alone, as if it were the whole prompt: not the null label.
    model, gpt = learned(prompt=True)
    prompt = model.net.prompt(torch.tensor([[0, 3]]))
    found = generate(model, prompt, guidance_scale=3.0, max_new_tokens=1).scores[0]
    with torch.no_grad():
        cond, last, null = (
            gpt(input_ids=ids).logits[:, -1].log_softmax(-1)
            for ids in (prompt, prompt[:, -1:], model.net.prompt(torch.tensor([[2, 8]])))
        )
    words = model.vocab_size
    torch.testing.assert_close(
        law_of(found, words), law_of(last + 3 * (cond - last), words), atol=1e-4, rtol=0
    )
    wanted = law_of(null + 3 * (cond - null), words)
    assert (law_of(found, words) - wanted).abs().max() > 0.1


def test_trap_negative_prompts_are_not_repeated_for_several_sequences():
    # Prompts are; so that rows no longer match. Repeat the negative ones yourself.
    model, _ = learned()
    label = torch.tensor([0, 1])
    prompt, null = (model.net.prompt(part) for part in (label, torch.full((2,), NULL)))
    options = dict(guidance_scale=3.0, num_return_sequences=3)
    with pytest.raises(RuntimeError, match="size"):
        generate(model, prompt, negative_prompt_ids=null, **options)
    found = generate(model, prompt, negative_prompt_ids=null.repeat_interleave(3, 0), **options)
    expected = ours(model, found.sequences[:, 1:], label.repeat_interleave(3), 3.0)
    for place, scores in enumerate(found.scores):
        torch.testing.assert_close(
            law_of(scores, model.vocab_size), expected[:, place], atol=1e-4, rtol=0
        )


def test_trap_one_negative_prompt_stands_for_all_only_at_the_first_word():
    # A single row is broadcast once; at the second word the sizes no longer match.
    model, _ = learned()
    prompt, null = (model.net.prompt(torch.tensor([c])) for c in (0, NULL))
    options = dict(guidance_scale=3.0, num_return_sequences=3, negative_prompt_ids=null)
    first = generate(model, prompt, max_new_tokens=1, **options)
    expected = ours(model, first.sequences[:, 1:], torch.zeros(3, dtype=torch.long), 3.0)
    torch.testing.assert_close(
        law_of(first.scores[0], model.vocab_size), expected[:, 0], atol=1e-4, rtol=0
    )
    with pytest.raises(RuntimeError, match="size"):
        generate(model, prompt, max_new_tokens=2, **options)


def test_trap_fifty_words_are_kept_unless_told_otherwise():
    model, _ = learned()
    prompt = model.net.prompt(torch.tensor([0]))
    options = dict(max_new_tokens=1, suppress_tokens=None)
    default = generate(model, prompt, top_k=UNSAID, **options).scores[0]
    everything = generate(model, prompt, top_k=0, **options).scores[0]
    assert everything.isfinite().sum() == model.net.transformer.config.vocab_size == 70
    assert default.isfinite().sum() == 50
    kept = everything.topk(50).indices[0]
    assert torch.equal(default[0].isfinite().nonzero()[:, 0], kept.sort().values)
    torch.testing.assert_close(default[0, kept], everything[0, kept])


@pytest.mark.parametrize("cut", [{"top_k": 4}, {"top_p": 0.7}], ids=str)
def test_trap_top_k_and_top_p_cut_topics_without_any_guidance(cut):
    # What reviews are of, from the exact law: topics of things, three words each.
    domain = ct.load("text")
    with torch.no_grad():
        law = domain.exact()(
            domain.encode("the _ _ _ _ _ _ _"), torch.tensor(1.0), torch.tensor([0])
        )[0, 1]

    # A GPT-2 whose next word follows that law whatever came before.
    model, gpt = learned()
    words = model.vocab_size

    def exact(module, inputs, output):
        output.logits = torch.full_like(output.logits, -torch.inf)
        output.logits[..., :words] = law.float()
        return output

    hook = gpt.register_forward_hook(exact)
    try:
        prompt = model.net.prompt(torch.tensor([0]))
        options = dict(max_new_tokens=1, suppress_tokens=None)
        plain = generate(model, prompt, **options).scores[0]
        found = generate(model, prompt, **{"top_k": 0, **cut}, **options).scores[0]
    finally:
        hook.remove()
    topics = {
        name: law_of(scores, words).exp()[0] @ (domain.law.tables[::4, 1] > 0).float().T
        for name, scores in (("plain", plain), ("cut", found))
    }
    assert topics["plain"].tolist() == pytest.approx(domain.mode_weights[0].tolist(), abs=1e-4)
    left = (topics["cut"] > 0).sum().item()
    assert left <= 4 and topics["cut"].sum() == pytest.approx(1)
    assert (topics["plain"] > 0).all()
