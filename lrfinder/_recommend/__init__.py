"""Short trials that choose a learning rate."""
