"""The verbs with options and a help page of their own: each a module with `HELP` and `show`."""
