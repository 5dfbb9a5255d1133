"""What libtpu says of a target that it cannot have."""

import jax
import pytest
from jax.experimental import topologies

from trainbench.errors import UserError
from trainbench.forecast.compiler import topology
from trainbench.forecast.targets import find


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("INVALID_ARGUMENT: Invalid TPU external name: TPU tpu7x", "pip install --upgrade 'jax[tpu]'"),
        (
            "ABORTED: Internal error when accessing libtpu multi-process lockfile. Run ...",
            "wait until that process has ended",
        ),
    ],
)
def test_what_libtpu_refuses_is_explained(monkeypatch, said, fix):
    monkeypatch.setattr(topologies, "get_topology_desc", _refusing(said))
    monkeypatch.setattr(topology.metadata, "version", "0.0.1 of {}".format)
    with pytest.raises(UserError) as error:
        topology.devices(find("tpu7x-1"))
    assert error.value.fix == fix
    assert said in error.value.problem


def test_other_errors_are_not_the_users(monkeypatch):
    monkeypatch.setattr(topologies, "get_topology_desc", _refusing("INTERNAL: no"))
    with pytest.raises(jax.errors.JaxRuntimeError):
        topology.devices(find("v6e-1"))


def _refusing(said):
    def refuse(**ignored):
        raise jax.errors.JaxRuntimeError(said)

    return refuse
