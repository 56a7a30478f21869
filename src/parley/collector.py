"""When Python looks for garbage: a full collection holds the loop while it visits every object there is."""

import asyncio
import gc
import time

PERIOD_S = 60.0
SHARE = 0.001
"""Of the time, spent on full collections at most."""


def pass_over_the_present() -> None:
    """Leave what is loaded by now out of every later collection, and have them come less often by themselves.

    What the imports have made is a hundred thousand objects, none of which ever goes. And left alone, full collections
    come just when many objects are made: when everybody joins.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 10)


async def run() -> None:
    """Collect now and then, until cancelled: whoever has left would otherwise be kept until enough others came."""
    wait_s = PERIOD_S
    while True:
        await asyncio.sleep(wait_s)
        began = time.monotonic()
        gc.collect()
        wait_s = max(PERIOD_S, (time.monotonic() - began) / SHARE)
