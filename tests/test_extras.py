"""What to type for an optional package that is missing."""

import sys

from trainbench import extras


def test_the_packages_of_an_extra_are_named_one_by_one(monkeypatch):
    required = [
        "numpy",
        "tokenizers>=0.21; extra == 'text'",
        'jax[tpu] ; extra == "tpu"',
        "x; extra == 'text'",
    ]
    monkeypatch.setattr(extras.metadata, "requires", lambda package: required)
    assert extras.install("text") == f"{sys.executable} -m pip install tokenizers x"


def test_an_extra_that_the_installed_program_has_not_is_installed_with_it(monkeypatch):
    monkeypatch.setattr(extras.metadata, "requires", lambda package: ["numpy", 'libtpu; extra == "tpu"'])
    assert extras.install("forecast") == f"{sys.executable} -m pip install -e '.[forecast]' (in the checkout)"
