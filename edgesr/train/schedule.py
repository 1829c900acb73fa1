"""Learning rates as functions of the step: a resumed training needs to restore nothing of them."""

import math

from edgesr.train.recipe import Cosine, Stage


def learning_rate(stage: Stage, step: int) -> float:
    """The rate of a step of a stage.

    Args:
        stage: Its schedule and length.
        step: From 0, within the stage.
    """
    schedule = stage.schedule
    if step < schedule.warm_up:
        return schedule.rate * (step + 1) / (schedule.warm_up + 1)
    if isinstance(schedule, Cosine):
        # From the first step behind the warm-up to the last of the stage.
        span = max(1, stage.steps - 1 - schedule.warm_up)
        wave = (1 + math.cos(math.pi * (step - schedule.warm_up) / span)) / 2
        return schedule.final_rate + (schedule.rate - schedule.final_rate) * wave
    return schedule.rate * 0.5 ** (step // schedule.every)
