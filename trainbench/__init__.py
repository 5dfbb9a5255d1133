"""trainbench: how fast does this accelerator train, really?"""

__version__ = "0.1.0"
