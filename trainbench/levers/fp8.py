"""What shows that dense layers multiply in 8 bits, which is a precision and no lever of its own."""

from trainbench.compiled.products import product_of
from trainbench.levers.lever import NotProven, Program
from trainbench.models.fp8 import SCOPE


def prove(program: Program) -> str:
    """What shows it in the compiled program.

    Raises:
      NotProven: some dense layer multiplies otherwise.
    """
    if program.situation.platform == "cpu":
        return _imitated(program)
    kernels = [path for path in program.state.params if "blocks/" in path and path.endswith("/kernel")]
    products = [
        (one, product.dtype.startswith("f8"))
        for computation in program.module.computations.values()
        for one in computation.instructions
        if (product := product_of(computation, one)) is not None
    ]
    found = sum(narrow for _, narrow in products)
    others = sum(SCOPE in one.op_name for one, narrow in products if not narrow)
    # One for each kernel is for the gradient of its inputs. The two others XLA for GPUs may compute together
    # with those of kernels that have the same inputs, such as an attention's query, key and value.
    if others or found < len(kernels):
        raise NotProven(
            f"precision=fp8, yet the compiled step has {found} products in 8 bits for {len(kernels)} dense "
            f"layers, and {others} of theirs that are not"
        )
    return f"{found} products of 8-bit floats for {len(kernels)} dense layers in the compiled step"


def _imitated(program: Program) -> str:
    """On a CPU: what is rounded to 8 bits is widened again to be multiplied."""
    counts = {dtype: program.text.count(f"{dtype}[") for dtype in ("f8e4m3fn", "f8e5m2")}
    if not all(counts.values()):
        raise NotProven("precision=fp8, yet the compiled step rounds nothing to 8 bits")
    return "numbers are rounded to 8 bits, and widened to be multiplied: a CPU imitates fp8"
