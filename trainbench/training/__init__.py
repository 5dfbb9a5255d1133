"""How a step is built: task, precision, optimizer, state, compilation."""
