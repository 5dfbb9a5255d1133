"""What a compiler says about an accelerator that isn't here, and the time model over what it says."""
