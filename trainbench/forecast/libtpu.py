"""libtpu, the TPU compiler: whether it is there, and what it has to be told before it is loaded."""

import importlib.util

from trainbench import extras
from trainbench.errors import UserError

# For the process that loads it. libtpu would else look for TPUs of this machine's own: it asks Google Cloud's
# metadata server for them, and aborts where another process has loaded it.
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
}


def check_installed() -> None:
    """Nothing if libtpu is installed.

    Raises:
      UserError: it isn't, and how to get it.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "forecasts for TPUs need libtpu, the TPU compiler, which is not installed",
            allowed="libtpu from the package index; no TPU is needed",
            fix=f"pip install -e '.[forecast]' (in the checkout), or {extras.install('forecast')}",
        )
