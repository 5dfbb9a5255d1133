"""What a chip can do at most, and what this machine is."""
