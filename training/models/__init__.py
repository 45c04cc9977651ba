"""Networks, their losses, and their forward pass rewritten."""
