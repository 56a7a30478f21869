"""`parley load`: many clients against a running server, and what they saw of it.

The clients are a program of their own, the load generator, which stands beside this package as `_loadgen`. Here is what
goes around it: what may be asked (`plan`), whether the server would let the clients in (`reach`), the program's run
(`generator`), what it says (`readings`), and what a person sees of that (`display`).
"""

import asyncio
import sys

from parley.load import generator, reach
from parley.load.display import Display
from parley.load.generator import LoadError
from parley.load.plan import Plan
from parley.load.readings import Second, Started, Summary, faults, read_line

__all__ = ["LoadError", "Plan", "run"]


def run(plan: Plan, key: str, secret: str, *, as_json: bool) -> list[str]:
    """Carry out a load test, showing it on standard output; why it failed, a sentence each.

    as_json: the generator's own lines in place of a display. Raises LoadError when it could not be carried out.
    """
    binary = generator.find()
    reach.check(plan.url, key, secret)
    summary: Summary | None = None
    display = None if as_json else Display(plan)

    def heard(text: str) -> None:
        nonlocal summary
        try:
            line = read_line(text)
        except ValueError as error:
            raise LoadError(f"the load generator is of another version ({error}); build it anew") from None
        if isinstance(line, Summary):
            summary = line
        if display is None:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        elif isinstance(line, Started):
            display.started(line)
        elif isinstance(line, Second):
            display.second(line)

    arguments = [*plan.arguments(), "--api-key", key]
    patience_s = generator.SILENCE_S + plan.join_over_s
    running = generator.run(binary, arguments, secret=secret, heard=heard, silence_s=patience_s)
    if display is None:
        complaint = asyncio.run(running)
    else:
        with display:
            complaint = asyncio.run(running)
    if summary is None:
        raise LoadError(f"the load generator failed: {complaint or 'it said nothing'}")
    if display is not None:
        display.summary(summary)
    return list(faults(summary, expects_media=plan.expects_media))
