# %% [markdown]
# # 3 · Is it the same without noise levels?
#
# **The claim of this notebook.** Words cannot be a little noisy. Yet the same line, applied to
# *log-probabilities* of words, buys alignment and costs coverage. For one hidden word it samples
# exactly the tilted law $p(x|c)^{s}\,p(x)^{1-s}$. For two it does not, and the weights that repair
# it are known.
#
# We begin with a language of two words that you can compute by hand, and end with sentences, BERT
# and GPT-2. **Afterwards you can** guide any model of tokens, also where words are forbidden,
# repair its law with weights, train a masked language model with the right loss, and name the traps
# in `generate(guidance_scale=...)`.
#
# | | |
# |---|---|
# | time | 30 to 40 minutes to work through; the code runs for less than 2 minutes |
# | you know | notebook 01: scale, alignment, coverage, the tilted law |
# | you need | two cores, no GPU, no network; 1.5 GiB of memory |
#
# Three sections are *for the curious*: nothing after them needs them, so leave them out on a first
# reading if time is short.

# %%
import cfg_tutorial as ct

# isort: split

# %%
import functools

import matplotlib.pyplot as plt
import torch

plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
BLACK, BLUE, SKY = "#000000", "#0072B2", "#56B4E9"
RED, GREEN, PINK = "#D55E00", "#009E73", "#CC79A7"

# %% [markdown]
# ## Two places, four rows
#
# A language of two words, a and b. A text has two places, so there are four texts: aa, ab, ba, bb.
# `p_c` is the law of the class that we want, class 0. `p_u` is the law without a class, the mean of
# class 0 and one other class. Rows of a table: first word; columns: second word.

# %%
p_c = torch.tensor([[0.5, 0.1], [0.1, 0.3]], dtype=torch.float64)
p_u = torch.tensor([[0.3, 0.2], [0.3, 0.2]], dtype=torch.float64)
texts = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
laws = torch.stack([p_c.flatten(), (2 * p_u - p_c).flatten()])  # of both classes
toy = ct.TokenMixture(torch.nn.functional.one_hot(texts, 2), laws)

# %% [markdown]
# In place of noise there is a **mask** `_`: a place whose word is hidden. A sampler starts with all
# places masked and reveals them. A model of tokens (words, as numbers) is called like every model
# here, `(tokens, level, label)`. The level is the share of masked places, and the answer is a
# log-probability of each word at each place. Ask it with both places hidden, and with an a in the
# first.

# %%
A, MASK = 0, toy.mask_token
level, label = torch.tensor(1.0), torch.tensor([0, 0])
asked = torch.tensor([[MASK, MASK], [A, MASK]])
for name, c in (("class 0 ", label), ("no class", torch.full_like(label, toy.null_label))):
    answer = toy(asked, level, c).exp()
    print(name, "second word after _:", [round(p, 3) for p in answer[0, 1].tolist()], end="   ")
    print("after a:", [round(p, 3) for p in answer[1, 1].tolist()])

# %% [markdown]
# While nothing is seen, class and language expect the same second word. After an a, the class
# thinks a second a more likely (.833) than the language does (.6). Guidance lives on that.
#
# ## Exercise 1: guide words
#
# Guidance is the line of notebook 01, through log-probabilities: `uncond + scale * (cond -
# uncond)`. But words have a trap that points do not have. A word that cannot come has probability
# 0 and log-probability `-inf`, and `-inf - -inf` is not a number. A word that *either* prediction
# forbids shall stay forbidden.
#
# *Hint: `t.isneginf()` says where, and `t.masked_fill(where, -torch.inf)` forbids.*


# %%
def my_guide(cond, uncond, scale):
    """Return guided log-probabilities (n, words), up to a constant a row; scale > 1 a float."""
    # BEGIN SOLUTION
    forbidden = cond.isneginf() | uncond.isneginf()
    return (uncond + scale * (cond - uncond)).masked_fill(forbidden, -torch.inf)
    # END SOLUTION


# %%
ct.check.token_guide(my_guide)

# %% [markdown]
# The package does this inside `ct.guided`, the same function as for points and pictures. The sum of
# the guided probabilities is no longer 1, so the sampler divides by it before it draws. Keep that
# sum in mind: we shall need it.
#
# **One place hidden.** The first word is a. Compare the guided second word with what the tilted law
# says of it.

# %%
s = 3.0
tilt = p_c**s * p_u ** (1 - s)
guided_word = ct.guided(toy, s)(asked[1:], level, label[1:])[0, 1].softmax(0)
print(f"second word b after a, guided: {guided_word[1]:.5f}")
print(f"second word b after a, tilted law: {(tilt[0] / tilt[0].sum())[1]:.5f}")

# %% [markdown]
# They agree to the last digit shown: for one hidden word, guided sampling **is** the tilted law,
# $p(b|a, c)^s\,p(b|a)^{1-s}$ divided by its sum. (In notebook 01, on continuous points, neither
# sampler reached it.)
#
# **Predict:** now both words are hidden, and there are two ways to go on: reveal one place, chosen
# at random, and then the other; or reveal both at once. Choose, keep your choice, and run on to the
# figure. Then come back here and press *Show what was measured*.

# %%
WAYS = ["both ways", "one at a time, but not both at once", "neither way"]
ct.predict(
    "Both words are hidden, the scale is 3. Which way gives the tilted law of the four texts?",
    WAYS,
    lambda: WAYS[sum((law - by_hand["tilted"]).abs().max() > 0.01 for law in shares.values())],
    "Words drawn at once do not know of each other, and a word that is drawn first does not know "
    "what can follow it.",
)

# %% [markdown]
# By hand: with both places hidden, the model's answer for a place is the *marginal* law of its
# word, whatever the other word. The word that comes first is drawn from that, guided; the second as
# above. Half of the time the left place comes first, half of the time the right one. (`tilt` is the
# tilted law before it is divided by its sum.)

# %%
left = p_c.sum(1) ** s * p_u.sum(1) ** (1 - s)
right = p_c.sum(0) ** s * p_u.sum(0) ** (1 - s)
left, right = left / left.sum(), right / right.sum()
left_first = left[:, None] * tilt / tilt.sum(1, keepdim=True)
right_first = right[None] * tilt / tilt.sum(0)
by_hand = {
    "tilted": (tilt / tilt.sum()).flatten(),
    "one at a time": ((left_first + right_first) / 2).flatten(),
    "both at once": (left[:, None] * right).flatten(),
}

# %% [markdown]
# Now the sampler. `levels` are the masked shares on the way: three of them reveal one word a step,
# two reveal both at once.

# %%
n = 10_000
hidden, label = torch.full((n, 2), MASK), torch.zeros(n, dtype=torch.long)
drawn = {}
for name, levels in (("one at a time", [1.0, 0.5, 0.0]), ("both at once", [1.0, 0.0])):
    states = ct.sample_unmask(ct.guided(toy, s), hidden, torch.tensor(levels), label, weights=True)
    *_, (x, log_weight) = states
    drawn[name] = 2 * x[:, 0] + x[:, 1], log_weight  # number of the text, 0 to 3
shares = {name: torch.bincount(text, minlength=4) / n for name, (text, _) in drawn.items()}

# %%
figure, ax = plt.subplots(figsize=(7, 3.2))
colours = {"tilted": RED, "one at a time": BLACK, "both at once": SKY}
for i, (name, law) in enumerate(by_hand.items()):
    at = torch.arange(4) + 0.27 * (i - 1)
    ax.bar(at, law, width=0.25, color=colours[name], alpha=0.75)
    ax.plot(at, shares.get(name, [torch.nan] * 4), "D", color="white", mec=BLACK, ms=5)
    ax.text(1.6, 0.6 - 0.07 * i, "\u25a0 " + name, color=colours[name], fontsize=12)
ax.set_xticks(range(4), ["aa", "ab", "ba", "bb"])
ax.set(xlabel="text", ylabel="share of texts at scale 3")
for name, found in shares.items():
    print(f"{name}, share of aa: {found[0]:.3f}, by hand {by_hand[name][0]:.4f}")
print(f"tilted law, share of aa: {by_hand['tilted'][0]:.4f}")

# %% [markdown]
# *Figure: shares of the four texts at scale 3; bars are computed by hand, diamonds are 10,000
# samples and sit on the bars. One word at a time comes close to the tilted law, with a little more
# aa and a little less bb. Both at once is far off: .31 of ab, which class 0 says one time in ten
# and the tilted law hardly ever.*
#
# You should see `one at a time, share of aa`: 0.660 to 0.693 and `both at once, share of aa`:
# 0.443 to 0.483, while the tilted law has .6614. Two words drawn at once do not know of each other.
# And even one at a time the law is not the tilted one, by a little.
#
# ## Exercise 2: repair the law
#
# Where does the difference come from? At each step the sampler divided by a sum and forgot it. The
# product of a text's sums is its **weight**: what the text should have counted. We have already
# drawn with `weights=True`, so the sampler handed out the weights' logarithms. Let every sample
# count by its weight in place of 1. Which shares do the four texts have then?
#
# *Hint: `torch.bincount(text, weights=..., minlength=4)` sums the weights of each text.*


# %%
def my_reweigh(text, log_weight):
    """Return the four texts' shares (4,): text (n,) is 0 to 3, log_weight (n,) of float64."""
    # BEGIN SOLUTION
    total = torch.bincount(text, weights=log_weight.exp(), minlength=4)
    return total / total.sum()
    # END SOLUTION


# %%
ct.check.reweigh(my_reweigh)

# %%
text, log_weight = drawn["one at a time"]
weight = log_weight.exp()
repaired = torch.bincount(text, weights=weight, minlength=4) / weight.sum()
print("text    drawn   repaired   tilted law")
for i, name in enumerate(["aa", "ab", "ba", "bb"]):
    tilted_share = by_hand["tilted"][i]
    print(f"{name:<6}{shares['one at a time'][i]:>7.3f}{repaired[i]:>11.3f}{tilted_share:>13.3f}")
gap = (repaired - by_hand["tilted"]).abs().max()
print(f"greatest gap after the repair: {gap:.3f}")
print(f"mean weight: {weight.mean():.3f}, and the tilted law sums to {tilt.sum():.3f}")
alike = drawn["both at once"][1].exp()
print(f"weights of both at once: from {alike.min():.3f} to {alike.max():.3f}")
print(f"share of bb where the left word comes first: {left_first[1, 1]:.3f}")

# %% [markdown]
# You should see `greatest gap after the repair`: 0.000 to 0.015. The weights know one thing more:
# their mean is the sum of $p_c^s\,p_u^{1-s}$ over all texts, before the division, 2.1 here. You
# should see `mean weight`: 2.07 to 2.13. (Both at once cannot be repaired so: its weights are all
# alike.) Where the left word comes first, bb is drawn far too seldom. Finish the sentence:

# %%
my_explanation = "bb is drawn too seldom then, because the draw of its first word ..."

# %% [markdown]
# <details><summary>One answer</summary>... does not know what can follow. After a b, class 0 says b
# again with .75 and the language with .4; after an a, it says a with .83 against .6. The second
# step has more to multiply up behind a b, so its sum is greater, and the text's weight says so.
# (Where the right word comes first it is the other way round, and the two do not quite
# cancel.)</details>

# %% [markdown]
# ## Sentences
#
# Now a language with a grammar. A review has eight words: determiner, thing, verb, judgement, *and*
# or *but*, determiner, part of the thing, judgement. Its **class** is *good* or *bad*. Its **mode**
# is the topic, one of eight; good reviews are mostly of food, bad ones mostly of coats, with the
# weights of notebook 01. Each of the two judgements fits its class with probability .7. Where they
# agree the review says *and*, else *but*.

# %%
domain = ct.load("text")
batch = domain.data(400, seed=0)
domain.show(batch.x[batch.label == 0][:8], label=0)

# %% [markdown]
# *Figure: eight reviews of class good, each with its topic before it and in the topic's colour;
# film, hotel and food most often. Some good reviews hold bad words: each of the two judgements is
# wrong with probability .3.*
#
# The grammar is finite, so `domain.exact()` can work out the law of any hidden word, given those
# that are seen, and needs no training. Watch one guided sentence appear, word by word.

# %%
model = domain.exact()
hidden = torch.full((1, 8), model.mask_token)
levels = domain.diffusion.levels(8)
for state in ct.sample_unmask(ct.guided(model, 3.0), hidden, levels, torch.tensor([0])):
    print(domain.decode(state)[0])

# %% [markdown]
# Words come in random order, one a step. Once a noun is there, the other must be of its topic; once
# both judgements are there, so is the choice of *and* or *but*.
#
# **Predict:** food has .30 of the good reviews. If the topic were the only word, guidance would
# give it .45 at scale 3, the tilted law. What will guided sentences give it: more than that, less,
# or the same? (You find out below the next figure.)

# %%
my_guess = "..., because ..."

# %%
SCALES = [0, 1, 1.5, 2, 3, 5, 8]


def measure_all(model, domain=domain, n=1000):
    """Measure n samples of class good at each scale, the same n rows of luck at all of them."""
    x = domain.at_scales(model, SCALES, n, label=0, progress=False)
    return [domain.measure(part, 0) for part in x]


# %%
def table(found):
    """Print what was measured, a line a scale."""
    print("scale   alignment   accuracy   coverage   effective topics   valid")
    for scale, r in zip(SCALES, found, strict=True):
        print(
            f"{scale:<8}{r.alignment:<12.2f}{r.accuracy:<11.2f}{r.mode_coverage:<11.2f}"
            f"{r.effective_modes:<19.2f}{r.validity:.3f}"
        )


# %%
exact = measure_all(model)
table(exact)
print(f"alignment at scale 0: {exact[0].alignment:.3f}")
print(f"accuracy at scale 1: {exact[1].accuracy:.3f}, at scale 3: {exact[4].accuracy:.3f}")
print(f"effective topics at scale 1: {exact[1].effective_modes:.2f}")
print(f"effective topics at scale 8: {exact[-1].effective_modes:.2f}")

# %% [markdown]
# - **alignment**: mean p(class | topic), as in the other domains. **accuracy**: share of sentences
#   whose likeliest class, all words considered, is the one asked for. **valid**: share that the
#   grammar can make. Read validity and coverage together: nonsense of all topics is no coverage,
#   and perfect grammar on one topic is no success. (A language model's own perplexity would praise
#   the second, which is why we do not show it.)
# - **The control that must fail.** At scale 0 no class is asked for, so its samples must not know
#   it: `alignment at scale 0`: 0.46 to 0.54.
# - `effective topics at scale 1`: 5.80 to 6.60, and `effective topics at scale 8`: 2.50 to 3.30.
#
# ## Two tilted laws
#
# Do these numbers follow the tilted law $p(x|c)^{s}\,p(x)^{1-s}$? There are two such laws, and they
# differ:
#
# - the tilted law of the **topic alone**, `domain.tilted_law`: the reference of the other domains;
# - the tilted law of the **whole sentence**, `domain.whole_law`, summed up topic by topic. The
#   judgements show the class too, so part of the tilt is spent on them, and more topics are left.


# %%
def modes_of(law):
    """Return the effective number of topics of each law."""
    return [torch.special.entr(one).sum().exp().item() for one in law]


TOPIC = modes_of([domain.tilted_law(scale, 0) for scale in SCALES])
WHOLE = modes_of([domain.whole_law(scale, 0) for scale in SCALES])


# %%
def three_panels():
    """Return three labelled axes: topics by scale, by alignment, and validity."""
    axes = plt.subplots(1, 3, figsize=(11.5, 3.4), layout="constrained")[1]
    axes[0].plot(SCALES, WHOLE, "--", color=GREEN, label="tilted, whole sentence")
    axes[0].plot(SCALES, TOPIC, ":", color=RED, label="tilted, topic alone")
    axes[0].set(xlabel="guidance_scale", ylabel="effective topics (of 8)")
    axes[1].set(xlabel="alignment, p(class | topic)", ylabel="effective topics (of 8)")
    axes[2].set(xlabel="guidance_scale", ylabel="valid sentences (share)", ylim=(0, 1.05))
    return axes


# %%
def draw(runs):
    """Draw runs, name -> (found, look, colour), in three panels; return the panels."""
    axes = three_panels()
    for name, (found, look, colour) in runs.items():
        modes, aligned = [r.effective_modes for r in found], [r.alignment for r in found]
        axes[0].plot(SCALES, modes, look, color=colour, label=name)
        axes[1].plot(aligned, modes, look, color=colour)
        axes[2].plot(SCALES, [r.validity for r in found], look, color=colour)
    axes[0].legend(frameon=False)
    return axes


# %%
middle = draw({"exact model, guided": (exact, "^-", BLACK)})[1]
for scale, r in zip(SCALES, exact, strict=True):
    at = (r.alignment, r.effective_modes)
    middle.annotate(f"s={scale}", at, (4, 3), textcoords="offset points")

# %% [markdown]
# *Figure (exact model, 1,000 sentences a scale): left, effective topics fall from 8 at scale 0 to
# about 3 at scale 8; the guided curve lies between the tilted law of the whole sentence, above it,
# and that of the topic alone, below it. Middle, the same against alignment, the scale at each
# point. Right, all sentences are valid at all scales.*
#
# It is the picture of the other notebooks. And the exact model never speaks nonsense, however far
# it is pushed: a word that cannot follow is forbidden in both predictions.
#
# Guided sentences follow neither law. The weights of Exercise 2 take them to one of the two: which?
# (Unequal weights have a price. The last line prints the *effective sample size*,
# $(\sum w)^2 / \sum w^2$, as a share of the samples: so many samples of equal weight would be worth
# as much.)

# %%
n = 4000
hidden, label = torch.full((n, 8), model.mask_token), torch.zeros(n, dtype=torch.long)
*_, (x, log_weight) = ct.sample_unmask(ct.guided(model, 3.0), hidden, levels, label, weights=True)
topic, weight = domain.assign(x), (log_weight - log_weight.max()).exp()
plain = torch.bincount(topic, minlength=8) / n
repaired = torch.bincount(topic, weights=weight, minlength=8) / weight.sum()
print(f"food, tilted law of the topic alone: {domain.tilted_law(3, 0)[0]:.3f}")
print(f"food, guided: {plain[0]:.3f}")
print(f"food, guided and repaired: {repaired[0]:.3f}")
print(f"food, tilted law of the whole sentence: {domain.whole_law(3, 0)[0]:.3f}")
print(f"the weights are worth {weight.sum() ** 2 / (weight**2).sum() / n:.2f} of the samples")

# %% [markdown]
# You should see `food, guided`: 0.405 to 0.450 and `food, guided and repaired`: 0.375 to 0.425, the
# whole sentence's .398. The weights are worth about three quarters of the samples,
# `the weights are worth`: 0.65 to 0.90. A weight is a product of one factor a word, so the longer
# the text, the fewer samples hold nearly all of it. Finish the sentence:

# %%
my_explanation = "food came out below the topic's tilted law because the judgements ..."

# %% [markdown]
# <details><summary>One answer</summary>... tell the class too. Where a good judgement is already
# there, the class is half settled: the predictions with and without it differ less on the topic, so
# guidance moves the topic less.</details>

# %% [markdown]
# ## A model that learned
#
# The network is `BertForMaskedLM` of the library transformers, made small from a configuration: 0.1
# million parameters, nothing is downloaded. The class is a token before the sentence; "no class" is
# one token more.
#
# ### Exercise 3: the loss
#
# Hide a random number of places, from 1 to all L, and ask for the hidden words. A row that hides
# few can err at few, so each of its errors counts more: the loss of a row is **(L / number masked)
# times the sum of -log p over its masked places**. In the mean over all numbers masked, that is
# what it costs to reveal the row one place after the other, in nats.
#
# *Hint: `masked` is True where a word is hidden, so `masked.sum(1)` is the number masked.*


# %%
def my_masked_loss(log_prob, masked):
    """Return the mean loss: log_prob (n, L) of the right words, masked (n, L) says where."""
    # BEGIN SOLUTION
    length, number = masked.shape[1], masked.sum(1)
    cost = -(log_prob * masked).sum(1)
    return (length / number * cost).mean()
    # END SOLUTION


# %%
ct.check.masked_loss(my_masked_loss)

# %% [markdown]
# The training loop is that of notebook 01 with this loss, and label dropout as before. It takes 30
# to 60 seconds. If you would rather not wait, set `READY_MADE = True`: the same network, trained a
# little longer, ships with the package.

# %%
READY_MADE = False
learned = domain.pretrained() if READY_MADE else domain.train(seed=0, train_steps=1500)

# %% [markdown]
# How good is it? No model can have a smaller loss than the entropy of the class, and the exact
# model has just that. Take the same sentences and the same masks for both.

# %%
fresh, cost = domain.data(4000, seed=1, held_out=True), {}
for name, net in {"learned": learned, "exact": model}.items():
    with torch.no_grad():
        masks = torch.Generator().manual_seed(0)
        each = [domain.diffusion.loss(net, fresh.x, fresh.label, masks) for _ in range(5)]
    cost[name] = sum(each).item() / 5
entropy = (domain.law.entropy(0) + domain.law.entropy(1)) / 2
print(f"entropy {entropy:.2f} nats, loss of the exact model: {cost['exact']:.2f}")
print(f"learned above exact, in nats: {cost['learned'] - cost['exact']:.3f}")

# %% [markdown]
# You should see `learned above exact, in nats`: -0.01 to 0.08. Unguided, the network is nearly
# perfect.
#
# **Predict:** where will its topics leave the exact curve, and what will become of validity?

# %%
my_guess = "topics ...; validity ..."

# %%
bert = measure_all(learned)
table(bert)
axes = draw({"exact, guided": (exact, "^-", BLACK), "BERT, trained here": (bert, "o-", BLUE)})
print(f"effective topics at scale 3, learned: {bert[4].effective_modes:.2f}")
print(f"validity at scale 1, learned: {bert[1].validity:.3f}")
print(f"validity at scale 8, learned: {bert[-1].validity:.3f}")

# %% [markdown]
# *Figure (1,000 sentences a scale, the same luck for both): left, BERT's topics follow the exact
# curve down, a little below it from scale 2 on. Middle, against alignment both lie on one line.
# Right, the exact model stays valid; BERT's validity falls a little at 5, and more at 8.*
#
# - `effective topics at scale 3, learned`: 3.40 to 4.50. It strikes the bargain of the exact model,
#   at a scale that seems slightly larger.
# - `validity at scale 1, learned`: 0.94 to 1.00 becomes
#   `validity at scale 8, learned`: 0.45 to 0.98. A network never says 0. It gives impossible words
#   a small probability in both predictions, and where the two differ, eight times the difference
#   can make one likely.
#
# ## Follow a sentence
#
# A row's luck (the order of its places, and the draws) depends on its number only. So one sentence
# can be followed from scale to scale.

# %%
few = [1, 3, 8]
x = domain.at_scales(learned, few, n=6, label=0, progress=False)
figure = domain.show(x.transpose(0, 1).flatten(0, 1))  # sentence after sentence
line = 0.24 / figure.get_figheight()
for i, scale in enumerate(6 * few):
    figure.text(1.0, (17.5 - i) * line, f"scale {scale}", fontsize=8, va="center")
figure

# %% [markdown]
# *Figure: six sentences, each at scales 1, 3 and 8, one under the other. Topics change, mostly to
# film or food at scale 3 and to food at scale 8; most bad judgements become good ones; many other
# words stay as they were.*
#
# ## Faster, or surest first
#
# One word a step is eight calls of the model. Two recipes are common: reveal several words at once,
# which is faster; and draw a word at every masked place but keep only those of which the model was
# surest (`order="confidence"`), which should make fewer mistakes. Test both with the exact model
# **at scale 1**, without any guidance, where it should give the class itself. (Words revealed
# together may fit no sentence. The exact model then goes on as if nothing were seen, and the
# sentence ends invalid.)
#
# **Predict:** which of the two loses validity, and which loses topics?

# %%
my_guess = "several at once: ...; surest first: ..."

# %%
surest = functools.partial(ct.sample_unmask, order="confidence")
found = {}
for name, sampler in {"random": domain.sampler, "surest first": surest}.items():
    for steps in (1, 2, 4, 8):
        x = domain.sample(model, 0, n=1000, num_steps=steps, sampler=sampler, progress=False)
        found[name, steps] = domain.measure(x, 0)
        r = found[name, steps]
        print(f"{name}, steps {steps}: valid {r.validity:.2f}, topics {r.effective_modes:.2f}")

# %%
for name in ("random", "surest first"):
    r = found[name, 8]
    print(f"{name}, steps 8, effective topics: {r.effective_modes:.2f}")
print(f"random, steps 4, validity: {found['random', 4].validity:.2f}")
figure, ax = plt.subplots(figsize=(7, 3))
bars = {"the class itself": domain.mode_weights[0]}
bars |= {
    f"{name}, 8 steps": found[name, 8].mode_counts / 1000 for name in ("random", "surest first")
}
for i, ((name, law), colour) in enumerate(zip(bars.items(), ("#888888", BLACK, RED), strict=True)):
    ax.bar(torch.arange(8) + 0.27 * (i - 1), law, width=0.25, color=colour)
    ax.text(3.2, 0.45 - 0.06 * i, "\u25a0 " + name, color=colour, fontsize=12)
ax.set_xticks(range(8), domain.mode_names)
limits = ax.set(xlabel="topic", ylabel="share of sentences at scale 1")

# %% [markdown]
# *Figure (exact model, scale 1, 1,000 sentences): in random order the topics' shares are those of
# the class. Surest first, food has about half of the sentences and the last topics nearly none.*
#
# - Several at once breaks the grammar, since words drawn together do not know of each other:
#   `random, steps 4, validity`: 0.74 to 0.86. It is the language of two words again.
# - Surest first does not mend that, `surest first, steps 4: valid`: 0.18 to 0.40. With eight steps
#   it stays valid, but **without any guidance** it loses topics:
#   `random, steps 8, effective topics`: 5.80 to 6.60, against
#   `surest first, steps 8, effective topics`: 3.20 to 4.10. It is as if the scale were turned up.
#
# So when samples of a language model lack variety, ask about its order before you blame guidance.
#
# ## For the curious: prompts, whole and in part
#
# A condition may have several parts. With `prompt=True` a label is a class and a topic, and
# training hid one part, the other or both. So "good" alone is a prompt, and "food" alone too.

# %%
prompted = ct.load("text", prompt=True)
asker = prompted.pretrained()
seen = {}
for words in ("good food", "good", "food", ""):
    x = prompted.sample(asker, prompted.prompt(words), n=2000, progress=False)
    x = x[prompted.assign(x) >= 0]
    topics = torch.bincount(prompted.assign(x), minlength=8) / len(x)
    seen[words] = topics, prompted.law.posterior(x)[:, 0].mean().item()
    print(
        f"prompt {words or '(none)':<10} food {topics[0]:.2f}, coat {topics[7]:.2f}, "
        f"good {seen[words][1]:.2f}   e.g. {prompted.decode(x)[0]}"
    )

# %% [markdown]
# Are the answers right? Bayes' rule knows them: p(topic | good) is the class's law, and p(good |
# food) is .30 / (.30 + .03) = .909, as food has .30 of the good reviews and .03 of the bad. (*Total
# variation* is half the sum of the differences: the share of the samples that would have to move.)

# %%
law = prompted.mode_weights[0]
print(f"p(topic | good), total variation: {(seen['good'][0] - law).abs().sum() / 2:.3f}")
print(f"p(good | food), measured: {seen['food'][1]:.3f}")

# %% [markdown]
# You should see `p(topic | good), total variation`: 0.00 to 0.06 and `p(good | food), measured`:
# 0.87 to 0.94. Nobody taught the model Bayes' rule; hiding parts did.
#
# Guidance works on any prompt. But does it change only what was asked for? Ask for food at scale 3.

# %%
x = prompted.sample(ct.guided(asker, 3.0), prompted.prompt("food"), n=2000, progress=False)
x = x[prompted.assign(x) >= 0]
print(f"good, asked for food at scale 3: {prompted.law.posterior(x)[:, 0].mean():.3f}")

# %% [markdown]
# You should see `good, asked for food at scale 3`: 0.915 to 0.955, so *good* came along. The tilted
# law would have left it at .909, for $p(x|food)/p(x)$ is the same for all food sentences. It is the
# order again: a judgement that is drawn before the topic is pushed towards what reviews of food
# say.
#
# ## A rival from left to right
#
# Most language models do not unmask. GPT-2 writes from left to right. The same corpus, the same
# `ct.guided`, the same `sample`; only the order is fixed. (A GPT-2 of the size of our BERT, trained
# on this corpus, ships with the package.)

# %%
ordered = ct.load("text", autoregressive=True)
rival = ordered.pretrained()
gpt = measure_all(rival, ordered)
runs = {"exact, random order": (exact, "^-", BLACK), "BERT": (bert, "o-", BLUE)}
axes = draw(runs | {"GPT-2": (gpt, "s-", PINK)})
print(f"validity at scale 1, GPT-2: {gpt[1].validity:.3f}")
print(f"validity at scale 8, GPT-2: {gpt[-1].validity:.3f}")

# %% [markdown]
# *Figure (1,000 sentences a scale, the same luck for all): left, all three curves fall together;
# both networks' lie below the exact model's, GPT-2's near the tilted law of the topic alone.
# Middle, one line against alignment. Right, both networks' validity holds up to 3 and falls at 8.*
#
# `validity at scale 1, GPT-2`: 0.97 to 1.00 promises nothing about
# `validity at scale 8, GPT-2`: 0.50 to 0.90. And why are its topics those of the topic alone? Ask
# the exact model to write from left to right, too.

# %%
by_order = {}
for name, net in {"GPT-2": rival, "the exact model": ordered.exact()}.items():
    x = ordered.sample(ct.guided(net, 3.0), 0, n=2000, progress=False)
    by_order[name] = ordered.measure(x, 0)
    print(f"left to right, topics of {name}: {by_order[name].effective_modes:.2f}")
print(f"tilted law of the topic alone: {TOPIC[4]:.2f}, of the whole sentence: {WHOLE[4]:.2f}")

# %% [markdown]
# The topic is named by the second word, before any judgement; all that stands before it is a
# determiner, which tells nothing. So for the topic it is *one hidden word*, and there guidance is
# the tilted law: `topics of the exact model`: 3.60 to 4.00, `topics of GPT-2`: 3.50 to 4.00. In
# random order a judgement often comes first, and more topics are left. **The order changes the
# law**, as the sampler did in notebook 01.
#
# ## `generate(guidance_scale=...)` and its traps
#
# If you guide a language model of transformers, you need not write any of this: `generate` takes a
# `guidance_scale`, with our convention (1 is the plain prompt). Does it do the same? The network
# inside our model is a plain `GPT2LMHeadModel`, so we can call it. Its vocabulary holds a mask, a
# padding and the prompt tokens too: they must be suppressed. The reference, our "no class", is
# given as `negative_prompt_ids`.

# %%
net, words = rival.net.transformer, ordered.law.vocab_size
never = list(range(words, net.config.vocab_size))  # mask, padding, prompts
label = torch.zeros(2000, dtype=torch.long)
good, nothing = rival.net.prompt(label), rival.net.prompt(torch.full_like(label, rival.null_label))


def generate(scale, prompt=good, top_k=0, **options):
    """Return 8 words that transformers' own sampling writes after each prompt token."""
    torch.manual_seed(0)
    options |= {"suppress_tokens": never, "pad_token_id": rival.pad_token, "do_sample": True}
    options |= {"min_new_tokens": 8, "max_new_tokens": 8, "top_k": top_k}
    return net.generate(prompt, guidance_scale=scale, **options)[:, 1:]


# %%
theirs = ordered.measure(generate(3.0, negative_prompt_ids=nothing), 0)
for name, r in {"ours": by_order["GPT-2"], "theirs": theirs}.items():
    print(f"{name}, accuracy {r.accuracy:.3f}, valid {r.validity:.3f}")
    print(f"{name}, effective topics at scale 3: {r.effective_modes:.2f}")

# %% [markdown]
# The same law, as it should be: `ours, effective topics at scale 3`: 3.45 to 4.10 and
# `theirs, effective topics at scale 3`: 3.45 to 4.20. Now three ways to get it wrong.
#
# **Trap 1: no `negative_prompt_ids`.** The reference is then the *last token of the prompt alone*.
# Our prompt has one token, so the reference is the prompt, and nothing is guided. No error says so.

# %%
silent, unguided = generate(3.0), generate(1.0)
same = (silent == unguided).all(1).double().mean()
print(f"sentences of scale 3 that are those of scale 1: {same:.2f}")

# %% [markdown]
# You should see `sentences of scale 3 that are those of scale 1`: 0.95 to 1.00.
#
# **Trap 2: `num_return_sequences`.** Several samples of one prompt: the prompt is repeated, the
# negative prompt is not. At least this one is loud.

# %%
try:
    generate(3.0, good[:2], negative_prompt_ids=nothing[:2], num_return_sequences=4)
except RuntimeError as error:
    print(type(error).__name__)

# %% [markdown]
# Repeat both by hand, as we did above.
#
# **Trap 3: `top_k`.** Unless told otherwise, `generate` keeps the 50 likeliest words at each step.
# Ours has 65 words and never more than 24 that can follow, so the default changes nothing here. In
# a real vocabulary 50 is few. Make it few here too, **at scale 1**.

# %%
for top_k in (0, 50, 10, 5):
    r = ordered.measure(generate(1.0, top_k=top_k), 0)
    print(f"top_k {top_k}, effective topics: {r.effective_modes:.2f}, accuracy {r.accuracy:.2f}")

# %% [markdown]
# You should see `top_k 0, effective topics`: 5.60 to 6.70, and without any guidance
# `top_k 10, effective topics`: 2.80 to 4.00. Like the order above, it does what guidance does. Set
# `top_k=0` when you measure guidance.
#
# ## For the curious: a scale that ramps up
#
# A scale may depend on the level, here the masked share. What if we guide little while most words
# are hidden, and more towards the end? `ct.ramp` goes from `start` at level `hi` to `end` at level
# `lo`, with `rho=1` in a straight line. Constant 2 and a ramp from 1 to 6 reach about the same
# accuracy.

# %%
kept = {}
ramp = ct.ramp(start=1.0, end=6.0, hi=1.0, lo=0.0, rho=1.0)
for name, scale in {"constant": 2.0, "ramp": ramp}.items():
    x = domain.sample(ct.guided(model, scale), 0, n=2000, progress=False)
    r = domain.measure(x, 0)
    kept[name] = r.effective_modes
    print(f"{name}, accuracy: {r.accuracy:.3f}")
    print(f"{name}, effective topics {r.effective_modes:.2f}, alignment {r.alignment:.3f}")
print(f"topics that the ramp saves: {kept['ramp'] - kept['constant']:.2f}")

# %% [markdown]
# At about equal accuracy (`constant, accuracy`: 0.93 to 0.97, `ramp, accuracy`: 0.93 to 0.97) the
# ramp keeps a little more of the topics: `topics that the ramp saves`: 0.00 to 0.40, a tenth of a
# topic over five seeds (`benchmarks/ramps.py`). But look at alignment, which sees topics only:
# there the ramp bought less. It moves the dose from topics to judgements, and whether that is a
# gain depends on what you wanted.
#
# ## Play
#
# Here is the network that you trained, under a slider. Every frame has the same luck, so follow one
# line from scale to scale: which words change first, the judgements or the topic? And from which
# scale on does the validity, the last of the numbers, fall?

# %%
ct.explore(domain, learned)

# %% [markdown]
# *Figure (the widget as it opens; where no kernel runs, you see this picture of it): twelve
# sentences of class good at scale 3, each with its topic; beside them the share of each topic in 80
# samples, and as a line the class's own. Food is far above its line, film above it, music and all
# after it below.*
#
# A start may have words in it: `_` is what the model shall fill in. Change the frame, the scale,
# the class (1 is bad), the model (`learned`).

# %%
frame, scale, label = "the _ was _ and its _ superb", 3.0, 1
start = domain.encode(frame).expand(10, -1)
labels = torch.full((10,), label)
*_, x = ct.sample_unmask(ct.guided(model, scale), start, torch.linspace(1, 0, 4), labels)
domain.show(x, label=label)

# %% [markdown]
# *Figure: ten fillings of the frame, asked for in class bad at scale 3. All are grammatical, all
# say superb, since the frame does, and most are of coats and cars: the class can move the topic and
# the other judgement, not what is written.*
#
# ## For the curious: what nobody counted
#
# The second corpus is real: names of the US census, letter by letter, with the list (female, male,
# surname) as class and the initial as mode. A name nearly tells its list, so guidance has little to
# do. Does it cost nothing, then? Count initials, and then count names.

# %%
census = ct.load("text", corpus="names")
for scale in (1.0, 5.0):
    x = census.sample(ct.guided(census.exact(), scale), 0, n=500, progress=False)
    r, names = census.measure(x, 0), census.decode(x)
    print(f"scale {scale}, effective initials: {r.effective_modes:.1f}")
    print(f"scale {scale}, different names: {len(set(names))}, such as {', '.join(names[:6])}")

# %% [markdown]
# The initials hardly change (`scale 1.0, effective initials`: 14.5 to 17.5,
# `scale 5.0, effective initials`: 13.0 to 17.0). The names do: of 500 samples,
# `scale 1.0, different names`: 215 to 280, `scale 5.0, different names`: 135 to 205. Coverage is
# coverage *of the modes that you count*. Guidance took what we did not look at.

# %% [markdown]
# ## Take away
#
# 1. Without noise levels it is the same line, on log-probabilities, and the same bargain: alignment
#    for coverage. A word that is forbidden must stay forbidden.
# 2. For one hidden word guided sampling is the tilted law. For more it is not: the order matters,
#    and the product of the sums that the sampler divides by repairs it.
# 3. Revealing several words at once, surest-first order and `top_k` change the law on their own.
#    Switch them off before you measure guidance, and read validity beside coverage.
#
# **Limits.** A grammar of eight places is not language: a learned model finds its law in a minute,
# and nothing in it is creative. Eight topics, one training seed, samples by the hundred: a
# difference of a third of a topic is noise. How steep the curve is follows from our weights and
# from the .3 of wrong judgements. Weights repair eight words; they would not repair a page.
#
# **What next.** `make atlas` draws these curves for several training seeds, with bands. `04_audio`
# asks the same by ear, of melodies.
