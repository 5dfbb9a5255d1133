"""How numbers are written: as many digits as carry meaning, the same everywhere."""

import math

_GIB = 2**30
_MIB = 2**20


def number(value: float, digits: int = 3) -> str:
    """`value` with at least `digits` significant digits, and whole digits never rounded away.

    >>> [number(x) for x in (1234.4, 812.34, 93.44, 1.0, 0.01234, 0)]
    ['1,234', '812', '93.4', '1.00', '0.0123', '0']
    """
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -digits - 1:
        return f"{value:.{digits - 1}e}"
    decimals = max(digits - 1 - magnitude, 0)
    if round(abs(value), decimals) >= 10 ** (magnitude + 1):  # 99.96 has become 100.0
        decimals = max(decimals - 1, 0)
    return f"{value:,.{decimals}f}"


def percent(fraction: float) -> str:
    """`fraction` in per cent with one decimal; what that would show as 0 is named as small.

    >>> [percent(x) for x in (0.3521, 0.008, 0.0002, 0.0)]
    ['35.2 %', '0.8 %', '< 0.1 %', '0.0 %']
    """
    if 0 < abs(fraction) < 0.0005:
        return "< 0.1 %"
    return f"{100 * fraction:.1f} %"


def plus_minus(value: float, interval: tuple[float, float] | None) -> str:
    """The interval's wider side relative to `value`, so that the sign claims no more than the interval does.

    >>> plus_minus(100.0, (99.0, 100.5))
    '± 1.0 %'
    """
    if interval is None or value <= 0:
        return "± n/a"
    low, high = interval
    return f"± {percent(max(value - low, high - value, 0) / value)}"


def duration(seconds: float) -> str:
    """`seconds` in the unit that suits them.

    >>> [duration(x) for x in (0.0000123, 0.0917, 2.5, 61.2, 119.7, 125.0)]
    ['12.3 µs', '91.7 ms', '2.50 s', '61.2 s', '120 s', '2 min 5 s']
    """
    if seconds >= 120:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    if seconds >= 1 or seconds == 0:
        return f"{number(seconds)} s"
    return f"{number(seconds * 1e3)} ms" if seconds >= 1e-3 else f"{number(seconds * 1e6)} µs"


def size(size_bytes: int) -> str:
    """`size_bytes` in binary units.

    >>> [size(x) for x in (85899345920, 1288490189, 3145728)]
    ['80.0 GiB', '1.20 GiB', '3.00 MiB']
    """
    if size_bytes >= _GIB:
        return f"{number(size_bytes / _GIB)} GiB"
    return f"{number(size_bytes / _MIB)} MiB"


def count(value: int) -> str:
    """A large count with a suffix.

    >>> [count(x) for x in (25557032, 1558000000, 61706)]
    ['25.6 M', '1.56 G', '61,706']
    """
    if value >= 10**9:
        return f"{number(value / 1e9)} G"
    return f"{number(value / 1e6)} M" if value >= 10**6 else f"{value:,}"


def units(sample_unit: str) -> str:
    """The plural of what a sample is, as rates are named after it.

    >>> units("image"), units("sequence")
    ('images', 'sequences')
    """
    return f"{sample_unit}s"


def clip(text: str, width: int) -> str:
    """`text` on one line of at most `width` columns; what is cut off shows as an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
