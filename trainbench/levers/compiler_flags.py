"""Flags that the compiler is given beside those that trainbench sets by itself, as named presets.

`hardware/compiler_flags.yaml` has them, with what each does and where that is said.
"""

import re
from typing import TYPE_CHECKING, Any

from trainbench.auto import Auto
from trainbench.compiled import hlo
from trainbench.errors import UserError
from trainbench.hardware.presets import NONE, presets
from trainbench.levers.lever import Lever, Program, Situation

if TYPE_CHECKING:
    from trainbench.config import Request


def _always(request: "Request") -> bool:
    del request
    return True


def _default(situation: Situation) -> Auto:
    del situation
    return Auto(NONE, "no preset is faster for every model; `tune levers=compiler_flags` tries them")


def _check(value: Any, situation: Situation) -> None:
    if value == NONE or presets()[value].platform == situation.platform:
        return
    fitting = [name for name, preset in presets().items() if preset.platform == situation.platform]
    raise UserError(
        f"compiler_flags={value} is for the compiler of platform {presets()[value].platform}, "
        f"not {situation.platform}",
        allowed=", ".join((NONE, *fitting)),
        fix="leave compiler_flags out",
    )


def _prove(value: Any, program: Program) -> str:
    """What is known: the compiler refuses flags that it does not know, and its program may be another one.

    Flags that bear on the generation of machine code alone leave the program's text as it is.
    """
    taken = f"the compiler took {', '.join(presets()[value].flags)}"
    if program.without_flags is None:
        return taken
    plain = program.without_flags()
    if _operations(plain) == _operations(program.text):
        return f"{taken}; XLA's program is the same without them: if anything changed, it is the machine code"
    before, after = _instructions(hlo.parse(plain)), _instructions(program.module)
    return f"{taken}; XLA's program is another one than without them: {before:,} → {after:,} instructions"


def _operations(text: str) -> list[str]:
    """The lines that say what is computed, without the places in our sources that they came from."""
    return [re.sub(r"stack_frame_id=\d+", "", line) for line in text.splitlines() if " = " in line]


def _instructions(module: hlo.Module) -> int:
    return sum(len(computation.instructions) for computation in module.computations.values())


LEVER = Lever(
    key="compiler_flags",
    summary="flags for the compiler, by the name of a preset",
    plain=NONE,
    values=(NONE, *presets()),
    applies=_always,
    default=_default,
    prove=_prove,
    check=_check,
)
