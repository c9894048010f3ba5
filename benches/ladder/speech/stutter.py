"""Takes all processors away for a moment, again and again, as the busy host of a virtual machine does. Needs root."""

import argparse
import os
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moment", type=float, default=0.025, help="how long each time, in seconds")
    parser.add_argument("--every", type=float, default=1.3, help="seconds from one to the next")
    parser.add_argument("--span", type=float, required=True, help="for how many seconds")
    options = parser.parse_args()
    if not 0 < options.moment < options.every / 2:
        parser.error("--moment must be more than 0 and less than half of --every, or nothing else runs")
    end = time.time() + options.span
    children = [start(processor, options.moment, options.every, end) for processor in os.sched_getaffinity(0)]
    for child in children:
        os.waitpid(child, 0)


def start(processor, moment, every, end):
    """A process that has this processor to itself at the same moments as its siblings have theirs."""
    child = os.fork()
    if child:
        return child
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    while time.time() < end:
        time.sleep(every - time.time() % every)
        begun = time.monotonic()
        while time.monotonic() - begun < moment:
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
