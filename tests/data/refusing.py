"""What every mistake that data sets are asked with has in common."""

import pytest

from trainbench.errors import UserError


def refused(pattern, function, *arguments, **options):
    """The error that the call ends in; `pattern` is looked for in all of its text."""
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert pattern in str(caught.value)
    assert caught.value.allowed
    assert caught.value.fix
    return caught.value
