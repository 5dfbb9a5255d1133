"""What shows that dense layers multiply in 8 bits, which is a precision and no lever of its own."""

from trainbench.compiled.products import product_of
from trainbench.levers.lever import NotProven, Program

# Forward, for the gradient of the inputs, for that of the kernel.
PRODUCTS = 3


def prove(program: Program) -> str:
    """What shows it in the compiled program.

    Raises:
      NotProven: some dense layer multiplies otherwise.
    """
    if program.situation.platform == "cpu":
        return _imitated(program)
    kernels = [path for path in program.state.params if "blocks/" in path and path.endswith("/kernel")]
    expected = PRODUCTS * len(kernels)
    found = sum(
        product is not None and product.dtype.startswith("f8")
        for computation in program.module.computations.values()
        for product in (product_of(computation, one) for one in computation.instructions)
    )
    if found < expected:
        raise NotProven(
            f"precision=fp8, yet {found} products of {expected} are in 8 bits in the compiled step"
        )
    return f"{found} products of 8-bit floats in the compiled step"


def _imitated(program: Program) -> str:
    """On a CPU: what is rounded to 8 bits is widened again to be multiplied."""
    counts = {dtype: program.text.count(f"{dtype}[") for dtype in ("f8e4m3fn", "f8e5m2")}
    if not all(counts.values()):
        raise NotProven("precision=fp8, yet the compiled step rounds nothing to 8 bits")
    return "numbers are rounded to 8 bits, and widened to be multiplied: a CPU imitates fp8"
