"""Stands for the process that compiles: behaves as the request's configuration says."""

import os
import signal
import sys
from pathlib import Path

from tests.forecast.outcomes import facts, program
from trainbench.forecast.compiler import cache
from trainbench.forecast.compiler.messages import LOG, Mistake, Reply, Request
from trainbench.processes import child


def main():
    request = Request.model_validate_json(sys.stdin.buffer.readline())
    child.begin()
    tree = request.tree
    Path(os.environ[LOG]).write_text(
        "a warning\nE1 2 3 coredump_hook.cc:405] RAW: Sending fingerprint\nlast words\n"
    )
    match tree["does"]:
        case "die":
            os.kill(os.getpid(), signal.SIGFPE)
        case "be stopped":
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        case "refuse":
            reply = Reply(mistake=Mistake(problem="wrong", allowed="right", fix="do right"))
        case "fail":
            reply = Reply(failure="while compiling: INTERNAL: no")
        case "compile":
            environment = [os.environ[name] for name in ("JAX_PLATFORMS", "ALLOW_MULTIPLE_LIBTPU_LOAD")]
            assert environment == ["cpu", "1"]
            cache.save(Path(tree["entry"]), "resnet50", "tpu-v6e", program())
            reply = Reply(facts=facts(entry=tree["entry"]))
        case "forget":
            reply = Reply(facts=facts(entry=tree["entry"]))
    print(reply.model_dump_json())


main()
