"""The experiments by name."""

from __future__ import annotations

from ganfold.lessons import (
    asking_for_things,
    first_weights,
    norms_and_slopes,
    the_game,
    the_loop,
    the_optimizer,
    up_and_down,
    what_d_knows,
    what_goes_wrong,
    why_convolutions,
)

EXPERIMENTS = {
    "the-game": the_game.EXPERIMENT,
    "the-loop": the_loop.EXPERIMENT,
    "up-and-down": up_and_down.EXPERIMENT,
    "why-convolutions": why_convolutions.EXPERIMENT,
    "first-weights": first_weights.EXPERIMENT,
    "norms-and-slopes": norms_and_slopes.EXPERIMENT,
    "the-optimizer": the_optimizer.EXPERIMENT,
    "what-goes-wrong": what_goes_wrong.EXPERIMENT,
    "asking-for-things": asking_for_things.EXPERIMENT,
    "what-d-knows": what_d_knows.EXPERIMENT,
}
