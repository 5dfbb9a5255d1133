"""The same workloads in PyTorch, under the same meter: what `framework=torch` runs.

Nothing here runs on JAX, and a process that runs PyTorch starts no JAX device: the shapes of the task, the
batches, the plan of the measurement and the record are trainbench's own.
"""
