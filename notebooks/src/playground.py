# %% [markdown]
# # Playground: every slider in one place
#
# Four kinds of data, one guidance scale. Each tab samples the network that ships with the package
# at eleven scales, from the same noise; the slider then moves from scale to scale, and the player
# beside it goes through all of them. Under the picture, the class, the seed, the number of steps
# and the levels at which guidance acts sample anew.
#
# The bars are the share of each mode among the samples, the line in each bar is the share that the
# class has in the data. **What to look for:** which modes go first, and which tab loses least.

# %%
import cfg_tutorial as ct

# isort: split

# %%
ct.Playground()

# %% [markdown]
# *Figure, as this file keeps it where nothing runs: 400 points of the first class of the mixtures
# at scale 3, and how often each of the eight modes occurs among them. Modes 0, 1 and 2 have nearly
# all samples; mode 1 has twice the share that it has in the data, and modes 5, 6 and 7 have next to
# none.*
#
# This page runs on your own machine, with `cfg-tutorial playground` (Voila), or as a notebook.
# What the numbers mean is in notebook 00.
