"""What native code prints, and its aborts."""

import subprocess
import sys

import pytest

from trainbench.distributed.native import arrivals, fatal, lost_processes

ABORT = """
import os, sys, threading
from trainbench.distributed import native
own = native.taken_over()
os.write(1, b"native words\\n"); os.write(2, b"F1123 06:52:30.448031   18709 client.h:80] the end\\n")
threading.Thread(target=os.abort, daemon=True).start()
assert own.aborted.wait(10)
print("still here", native.fatal(own.text()), flush=True)
print("and heard", file=sys.stderr, flush=True)
os._exit(3)
"""


def test_a_thread_that_aborts_leaves_the_others_time_for_words():
    done = subprocess.run([sys.executable, "-c", ABORT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    assert done.stdout == "still here client.h:80] the end\n"
    assert done.stderr == "and heard\n"


@pytest.mark.parametrize(
    ("text", "lost", "came"),
    [
        ("", (), None),
        (
            "# of tasks that reached the barrier: 2/4.\nSome timed out task names:\n1\n3\n\nRPC: x",
            (1, 3),
            (2, 4),
        ),
        ("tasks are unhealthy (stopped sending heartbeats):\n2\nThe tasks have crashed.", (2,), None),
    ],
)
def test_the_service_says_who_is_missing(text, lost, came):
    assert lost_processes(text) == lost
    assert arrivals(text) == came
    assert fatal(text) == ""
